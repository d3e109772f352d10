"""Uniform stochastic quantisation: a few levels between minus and plus the largest value.

A block of values shares its scale `s`, the largest magnitude in it. With `b` bits there are
`L = 2**(b - 1) - 1` steps of `s / L` on either side of 0, and a value between two levels goes to
one or the other, with the probabilities that make its expectation the value itself.

Blocks of 256 cost an eighth of a bit per value, and keep one large value from coarsening a whole
array: with 4 bits the error of a SimpleCNN's delta is 0.21 of its norm, and 1.3 with one scale for
all. They are also short enough for error feedback, which needs the error to be smaller than what
is sent, `E|Q(x) - x|^2 < |x|^2`, or residuals grow. In units of a step a value `y < 1` adds
`y * (1 - y)` to the left and `y^2` to the right, at worst 1/8 too much, and the largest value of
the block adds 0 and `L^2`; so a block may have `8 * L^2` values, 392 with 4 bits. With 256 the left
is at most three quarters of the right.

Source: Alistarh et al., NeurIPS 2017 (QSGD), arXiv:1610.02132, in its practical form: scaled by
the largest magnitude instead of the norm, and packed at a fixed width.
"""

from dataclasses import dataclass

import numpy as np

from strategies.core.vectors import Bytes, Vector

BLOCK = 256
"""Values that share a scale."""


@dataclass(frozen=True)
class UniformLevels:
    """A value as one of `2 * L + 1` levels; see the module.

    Bytes: the scales as little-endian float32, one per block, the last block may be short; then
    the levels, numbered from 0 at `-s` to `2 * L` at `s`; with 4 bits two to a byte, the
    first in the low half.

    The error of a value is less than a step, `s / L`, and its expectation is 0, but for round-off
    of at most `2**-21 * s`, and `2**-148` where float32 itself gives out. A 0 stays 0.

    Attributes:
        bits: Of a level, 8 or 4.
    """

    bits: int

    def __post_init__(self) -> None:
        if type(self.bits) is not int or self.bits not in (4, 8):
            raise ValueError(f"bits = {self.bits!r}: must be 8 or 4")

    @property
    def steps(self) -> int:
        """The number of steps between 0 and the scale."""
        return int(2 ** (self.bits - 1) - 1)

    def num_bytes(self, count: int) -> int:
        """Return how many bytes that many values take."""
        return 4 * _num_blocks(count) + (count * self.bits + 7) // 8

    def pack(self, values: Vector, generator: np.random.Generator) -> Bytes:
        """Round at random to levels.

        Args:
            values: Finite.
            generator: Decides between the two levels next to a value.
        """
        starts = np.arange(0, values.size, BLOCK)
        scales = np.maximum.reduceat(np.abs(values), starts) if values.size else values
        divisors = np.where(scales > 0, scales, np.float32(1))
        # Divided first: a value of the scale's size must come out as L, to the bit.
        in_steps = values / _spread(divisors, values.size)
        in_steps *= np.float32(self.steps)
        below = np.floor(in_steps)
        in_steps -= below  # exact, and so is the probability of rounding up
        levels = (below + np.float32(self.steps)).astype(np.uint8)
        levels += generator.random(values.size, dtype=np.float32) < in_steps
        packed = levels if self.bits == 8 else _pack_halves(levels)
        return np.concatenate([scales.astype("<f4").view(np.uint8), packed])

    def unpack(self, data: Bytes, count: int) -> Vector:
        """Return the values of the levels.

        Args:
            data: `num_bytes(count)` bytes.
            count: The number of values.

        Raises:
            ValueError: If a scale is no scale, or a level is not one of the `2 * L + 1`.
        """
        end = 4 * _num_blocks(count)
        scales = data[:end].view("<f4").astype(np.float32)
        if bad := int(np.count_nonzero(~(np.isfinite(scales) & (scales >= 0)))):
            raise ValueError(f"{bad} scales are not finite or negative")
        levels = data[end:] if self.bits == 8 else _unpack_halves(data[end:], count)
        highest = int(levels.max(initial=0))
        if highest > 2 * self.steps:
            raise ValueError(f"level {highest} is not one of 0 to {2 * self.steps}")
        values = levels.astype(np.float32)
        values -= np.float32(self.steps)
        # Divided first: at most 1, so that a scale near the largest float32 cannot overflow.
        values /= np.float32(self.steps)
        values *= _spread(scales, count)
        return values


def _num_blocks(count: int) -> int:
    return -(-count // BLOCK)


def _spread(scales: Vector, count: int) -> Vector:
    """Return the scale of each value."""
    return np.repeat(scales, BLOCK)[:count]


def _pack_halves(levels: Bytes) -> Bytes:
    """Pack numbers below 16 two to a byte; an odd last one stands alone."""
    packed = levels[::2].copy()
    packed[: levels.size // 2] |= levels[1::2] << 4
    return packed


def _unpack_halves(packed: Bytes, count: int) -> Bytes:
    levels = np.empty(2 * packed.size, np.uint8)
    np.bitwise_and(packed, 15, out=levels[::2])
    np.right_shift(packed, 4, out=levels[1::2])
    return levels[:count]
