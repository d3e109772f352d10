"""Codecs: a delta becomes what goes over the wire, and becomes a delta again.

`Identity`, `Float16`, `Bfloat16` and `Quantise` are here, `TopK` is in
`strategies.compression.top_k`. `scripts/benchmark` measures their bytes, times and errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from strategies.compression.quantization import UniformLevels
from strategies.compression.value_formats import VALUE_FORMATS, ValueFormat
from strategies.core.client_update import Arrays, form_fault
from strategies.core.vectors import bytes_of, num_values, ravel, unravel


class Codec(Protocol):
    """How a participant's delta travels to the server.

    Participant and server build the same codec from the run config, and keep no state in it;
    error feedback keeps a residual, see `strategies.compression.error_feedback`.

    Attributes:
        lossless: Whether a delta comes back to the bit.
        unbiased: Whether its expectation is the delta. Where it is not, error feedback is
            needed for the same model in the end.

    An example is in strategies/README.md.
    """

    @property
    def lossless(self) -> bool: ...  # noqa: D102 - see Attributes

    @property
    def unbiased(self) -> bool: ...  # noqa: D102

    def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
        """Return what to send.

        Every array of a payload costs a header of 128 bytes on the wire, so few are better.

        Args:
            delta: Local minus global weights; stays as it is.
            generator: For rounding at random; of the seed, the round and the participant.

        Raises:
            ValueError: If the delta cannot be sent: a codec that rounds has no code for values
                that are not finite.
        """
        ...

    def decode(self, payload: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]) -> Arrays:
        """Return the delta that a payload stands for.

        Args:
            payload: Arrays of numbers from anybody, read-only: believe nothing they claim, and
                take no more memory than a few models.
            like: Arrays of the model's shapes and dtypes, whose values do not matter.

        Returns:
            Arrays of the shapes and dtypes of `like`. Whether they are finite is checked once
            more by `strategies.core.client_update.check_update`.

        Raises:
            ValueError: If the payload is damaged; says how it is and should be.
        """
        ...


@dataclass(frozen=True)
class Identity:
    """The delta as it is. Values that are not finite travel too, and the server refuses them."""

    lossless: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True

    def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
        """See `Codec`; the generator is not used."""
        return list(delta)

    def decode(self, payload: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]) -> Arrays:
        """See `Codec`."""
        if fault := form_fault(payload, like):
            raise ValueError(fault)
        return list(payload)


@dataclass(frozen=True)
class Float16:
    """Values as float16, scaled so that none overflows: 2 bytes each, 11 significant bits.

    Error bound, payload and rounding are those of
    `strategies.compression.value_formats.Float16Values`.
    """

    lossless: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False

    def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
        """See `Codec`; the generator is not used."""
        return _encode(VALUE_FORMATS["float16"], delta, generator)

    def decode(self, payload: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]) -> Arrays:
        """See `Codec`."""
        return _decode(VALUE_FORMATS["float16"], payload, like)


@dataclass(frozen=True)
class Bfloat16:
    """Values as bfloat16: 2 bytes each, 8 significant bits.

    Error bound, payload and rounding are those of
    `strategies.compression.value_formats.Bfloat16Values`.
    """

    lossless: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False

    def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
        """See `Codec`; the generator is not used."""
        return _encode(VALUE_FORMATS["bfloat16"], delta, generator)

    def decode(self, payload: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]) -> Arrays:
        """See `Codec`."""
        return _decode(VALUE_FORMATS["bfloat16"], payload, like)


@dataclass(frozen=True)
class Quantise:
    """Values rounded at random to 255 levels, or 15: a byte each, or half a byte.

    Error bound, payload and source are those of `strategies.compression.quantization`.

    Attributes:
        bits: Of a value, 8 or 4.
    """

    lossless: ClassVar[bool] = False
    unbiased: ClassVar[bool] = True

    bits: int = 8

    def __post_init__(self) -> None:
        UniformLevels(self.bits)  # checks them

    def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
        """See `Codec`."""
        return _encode(VALUE_FORMATS[f"int{self.bits}"], delta, generator)

    def decode(self, payload: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]) -> Arrays:
        """See `Codec`."""
        return _decode(VALUE_FORMATS[f"int{self.bits}"], payload, like)


def _encode(values: ValueFormat, delta: Arrays, generator: np.random.Generator) -> Arrays:
    return [values.pack(ravel(delta), generator)]


def _decode(
    values: ValueFormat, payload: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]
) -> Arrays:
    data, count = bytes_of(payload), num_values(like)
    if data.size != (expected := values.num_bytes(count)):
        raise ValueError(
            f"the payload has {data.size} bytes, {count} values in this format take {expected}"
        )
    return unravel(values.unpack(data, count), like)
