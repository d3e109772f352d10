"""Sparsification: only the largest values of a delta travel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from strategies.compression.index_coding import Positions, decode_positions, encode_positions
from strategies.compression.value_formats import VALUE_FORMATS, ValueFormat
from strategies.core.client_update import Arrays
from strategies.core.vectors import Vector, bytes_of, num_values, ravel, unravel


@dataclass(frozen=True)
class TopK:
    """Sends the values of largest magnitude in the whole model; the others are decoded as 0.

    Made for error feedback, see `strategies.compression.error_feedback`: what is left out in one
    round is then sent in a later one. Without it, what is always small is never sent.

    Of values with the same magnitude the first in model order are taken. The error of what is
    sent is that of the value format.

    Payload: one row of bytes, the values in their format, then their positions. How many there
    are is not written down, both sides know it.

    Attributes:
        fraction: Share of the values that is sent, in (0, 1]; at least one value is.
        values: How they are written: "float32", "float16", "bfloat16", "int8" or "int4"; see
            `strategies.compression.value_formats`.

    Source: Aji and Heafield, EMNLP 2017, arXiv:1704.05021; Sattler et al. (2019),
    arXiv:1903.02891, for federated learning. Values as in `strategies.compression.quantization`,
    positions as in `strategies.compression.index_coding`.
    """

    lossless: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False

    fraction: float = 0.01
    values: str = "float32"

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction = {self.fraction!r}: must be more than 0 and at most 1")
        if self.values not in VALUE_FORMATS:
            raise ValueError(f"values = {self.values!r}: must be one of {', '.join(VALUE_FORMATS)}")

    def num_kept(self, total: int) -> int:
        """Return how many of so many values are sent."""
        return min(total, math.ceil(self.fraction * total))

    def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
        """See `strategies.compression.codec.Codec`."""
        vector = ravel(delta)
        positions = _largest(vector, self.num_kept(vector.size))
        packed = self._format.pack(vector[positions], generator)
        return [np.concatenate([packed, encode_positions(positions)])]

    def decode(self, payload: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]) -> Arrays:
        """See `strategies.compression.codec.Codec`."""
        data = bytes_of(payload)
        total = num_values(like)
        count = self.num_kept(total)
        end = self._format.num_bytes(count)
        if data.size < end:
            raise ValueError(f"the payload has {data.size} bytes, {count} values alone take {end}")
        positions = decode_positions(data[end:], count, total)
        vector = np.zeros(total, np.float32)
        vector[positions] = self._format.unpack(data[:end], count)
        return unravel(vector, like)

    @property
    def _format(self) -> ValueFormat:
        return VALUE_FORMATS[self.values]


def _largest(vector: Vector, count: int) -> Positions:
    """Return the positions of the values of largest magnitude, ascending.

    A threshold and one more pass, rather than a partial sort of positions: faster, already in
    order, and the choice among equals is the same on every processor.
    """
    if count == 0:
        return np.zeros(0, np.int64)
    magnitudes = np.abs(vector)
    rank = vector.size - count
    threshold = np.partition(magnitudes, rank)[rank]
    positions = np.flatnonzero(magnitudes >= threshold)
    if surplus := positions.size - count:
        equal = np.flatnonzero(magnitudes[positions] == threshold)
        positions = np.delete(positions, equal[-surplus:])
    return positions
