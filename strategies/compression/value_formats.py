"""How a vector of float32 is written as bytes, where its length is known to the reader."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from strategies.compression.quantization import UniformLevels
from strategies.core.vectors import Bytes, Vector


class ValueFormat(Protocol):
    """Bytes for a given number of finite values; as many for any values."""

    def num_bytes(self, count: int) -> int:
        """Return how many bytes that many values take."""
        ...

    def pack(self, values: Vector, generator: np.random.Generator) -> Bytes:
        """Write finite values.

        Args:
            values: To be left as they are.
            generator: For rounding at random.
        """
        ...

    def unpack(self, data: Bytes, count: int) -> Vector:
        """Read values into a new vector.

        Args:
            data: `num_bytes(count)` bytes, from anybody.
            count: The number of values.

        Raises:
            ValueError: If they are not what `pack` writes. Whatever is returned is finite.
        """
        ...


@dataclass(frozen=True)
class Float32Values:
    """Every bit, little-endian."""

    def num_bytes(self, count: int) -> int:
        """See `ValueFormat`."""
        return 4 * count

    def pack(self, values: Vector, generator: np.random.Generator) -> Bytes:
        """See `ValueFormat`; the generator is not used."""
        return values.astype("<f4").view(np.uint8)

    def unpack(self, data: Bytes, count: int) -> Vector:
        """See `ValueFormat`."""
        values = data.view("<f4").astype(np.float32)
        _refuse(~np.isfinite(values))
        return values


@dataclass(frozen=True)
class Float16Values:
    """float16 with one power of two for all, so that nothing overflows and little underflows.

    The values of a delta are small, and float16 has few bits left below 6e-5. So all are
    multiplied, exactly, by the `2**shift` that brings the largest just under `2**15`. Rounding
    is to nearest, ties to even. The error of a value `x` is at most
    `2**-11 * |x| + 2**-39 * max|x|`, and `2**-149` where float32 itself gives out.

    Bytes: little-endian float16, then the shift as one signed byte.
    """

    def num_bytes(self, count: int) -> int:
        """See `ValueFormat`."""
        return 2 * count + 1

    def pack(self, values: Vector, generator: np.random.Generator) -> Bytes:
        """See `ValueFormat`; the generator is not used."""
        _, exponent = np.frexp(np.abs(values).max(initial=0))
        shift = int(np.clip(15 - exponent, *_SHIFTS))
        scaled = values * np.float32(2.0**shift)
        # 2**15 itself, to which the largest may round, would overflow float32 on its way back.
        np.clip(scaled, -_BELOW_2_15, _BELOW_2_15, out=scaled)
        return np.append(scaled.astype("<f2").view(np.uint8), np.int8(shift).view(np.uint8))

    def unpack(self, data: Bytes, count: int) -> Vector:
        """See `ValueFormat`."""
        shift = int(data[-1:].view(np.int8)[0])
        if not _SHIFTS[0] <= shift <= _SHIFTS[1]:
            raise ValueError(f"its exponent is {shift}, one from {_SHIFTS[0]} on is expected")
        values = data[:-1].view("<f2").astype(np.float32)
        _refuse(~(np.abs(values) <= _BELOW_2_15))
        values *= np.float32(2.0**-shift)
        return values


_SHIFTS = (-113, 126)  # 2**15 * 2**113 is where float32 ends; below 2**-126 it has no 2**-shift
_BELOW_2_15 = np.float32(32752)  # the last float16 before it


@dataclass(frozen=True)
class Bfloat16Values:
    """The upper half of each float32: its whole range, and 8 of its 24 significant bits.

    Rounding is to nearest, ties to even; what would round to infinity becomes the largest
    finite value. The error of a value `x` is at most `2**-8 * |x|`, and `2**-134` where float32
    itself gives out.

    Bytes: little-endian.
    """

    def num_bytes(self, count: int) -> int:
        """See `ValueFormat`."""
        return 2 * count

    def pack(self, values: Vector, generator: np.random.Generator) -> Bytes:
        """See `ValueFormat`; the generator is not used."""
        bits = values.view(np.uint32)
        # Half a unit less one, plus the last bit that stays: carries where rounding goes up.
        rounding = (bits >> 16) & 1
        rounding += 0x7FFF
        rounding += bits
        rounding >>= 16
        upper = rounding.astype("<u2")
        upper -= (upper & _INFINITY) == _INFINITY
        return upper.view(np.uint8)

    def unpack(self, data: Bytes, count: int) -> Vector:
        """See `ValueFormat`."""
        upper = data.view("<u2")
        _refuse((upper & _INFINITY) == _INFINITY)
        bits = upper.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)


_INFINITY = 0x7F80  # the exponent of what is not finite


def _refuse(bad: NDArray[np.bool_]) -> None:
    if number := int(np.count_nonzero(bad)):
        raise ValueError(f"{number} values are not finite, or too large for their format")


@dataclass(frozen=True)
class InChunks:
    """Another format, for 65,536 values at a time.

    What is computed on the way then stays in the processor's cache, which halves the time for
    large models, and takes no memory to speak of.

    Bytes: those of the chunks, one after the other; the last chunk may be short.

    Attributes:
        each: The format of a chunk.
    """

    each: ValueFormat

    def num_bytes(self, count: int) -> int:
        """See `ValueFormat`."""
        return sum(self.each.num_bytes(size) for _, size in _chunks(count))

    def pack(self, values: Vector, generator: np.random.Generator) -> Bytes:
        """See `ValueFormat`."""
        data = np.empty(self.num_bytes(values.size), np.uint8)
        end = 0
        for start, size in _chunks(values.size):
            packed = self.each.pack(values[start : start + size], generator)
            data[end : end + packed.size] = packed
            end += packed.size
        return data

    def unpack(self, data: Bytes, count: int) -> Vector:
        """See `ValueFormat`."""
        values = np.empty(count, np.float32)
        begin = 0
        for start, size in _chunks(count):
            end = begin + self.each.num_bytes(size)
            values[start : start + size] = self.each.unpack(data[begin:end], size)
            begin = end
        return values


_CHUNK = 2**16  # values; a multiple of `quantisation.BLOCK`


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    """Yield where each chunk starts, and how many values it has."""
    for start in range(0, count, _CHUNK):
        yield start, min(_CHUNK, count - start)


VALUE_FORMATS: Mapping[str, ValueFormat] = {
    "float32": InChunks(Float32Values()),
    "float16": InChunks(Float16Values()),
    "bfloat16": InChunks(Bfloat16Values()),
    "int8": InChunks(UniformLevels(8)),
    "int4": InChunks(UniformLevels(4)),
}
"""By the name that options have for them."""
