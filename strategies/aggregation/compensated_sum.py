"""The weighted sum of float64 arrays in twice the digits of float64, for models of float64.

Sums of float32 updates are kept in float64, which has digits to spare. For float64 updates there
is no larger number, so a sum is kept as two: its value and what that has been rounded by. The
error is then below `k * 2**-104` of the mean magnitude of `k` terms, so that the mean, rounded
once, is the float64 nearest to the exact one but in rare ties, and equal updates give themselves.

Source: Dekker, Numerische Mathematik 18 (1971), for the exact product; Knuth, The Art of Computer
Programming 2, 4.2.2, for the exact sum.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 2**13  # elements: the buffers of a block stay in a core's cache

# Values from 2**512 on are added up apart, scaled down: neither products nor sums overflow.
_LARGE = 2.0**512
_SCALE = 600

_HALF = 27  # bits; a product of 27 and 26 bits is exact
_SPLITTER = 2.0**_HALF + 1


class CompensatedSum:
    """The sum of weight * values over arrays of one shape, and its quotient.

    Takes the memory of two such arrays, and of two more from the first value of 2**512 or more on.
    """

    def __init__(self, size: int) -> None:
        """Begin.

        Args:
            size: Of every array, flattened.
        """
        self._small = np.zeros((2, size))
        self._large: NDArray[np.float64] | None = None

    def add(self, values: NDArray[Any], weight: float) -> None:
        """Add weight * values.

        Args:
            values: In any layout; taken as float64.
            weight: An integer of any size is taken exactly.
        """
        parts = list(_parts(weight))
        flat = values.reshape(-1) if values.flags.c_contiguous else values.flat
        for start in range(0, values.size, _BLOCK):
            block = slice(start, min(start + _BLOCK, values.size))
            self._add_block(block, np.asarray(flat[block], np.float64), parts)

    def _add_block(self, block: slice, values: NDArray[np.float64], parts: list[float]) -> None:
        large = np.abs(values) >= _LARGE
        if large.any():
            if self._large is None:
                self._large = np.zeros_like(self._small)
            scaled = np.ldexp(np.where(large, values, 0.0), -_SCALE)
            _accumulate(self._large[:, block], scaled, parts)
            values = np.where(large, 0.0, values)
        _accumulate(self._small[:, block], values, parts)

    def quotient(self, divisor: float) -> NDArray[np.float64]:
        """Return the sum over `divisor`, rounded once; infinite where float64 cannot hold it."""
        parts = list(_parts(divisor))
        first, rest = _divide(self._small, float(divisor), parts)
        if self._large is None:
            return np.asarray(first + rest)
        large_first, large_rest = _divide(self._large, float(divisor), parts)
        large_rest += np.ldexp(first + rest, -_SCALE)
        with np.errstate(over="ignore"):
            sums = np.ldexp(large_first + large_rest, _SCALE)
        return np.where(large_first == 0, first + rest, sums)


def _parts(weight: float) -> Iterator[float]:
    """Split a weight into numbers of 27 bits at most, the largest first."""
    if isinstance(weight, int | np.integer):
        whole = int(weight)
        for shift in reversed(range(0, max(whole.bit_length(), 1), _HALF)):
            if part := (whole >> shift) % 2**_HALF:
                yield float(part << shift)
        return
    upper, lower = _split(np.float64(weight))
    yield float(upper)
    if lower:
        yield float(lower)


def _split(values: Any) -> tuple[Any, Any]:  # noqa: ANN401 - an array or a number
    """Return two parts of 26 bits that add up to the values."""
    moved = values * _SPLITTER
    upper = moved - (moved - values)
    return upper, values - upper


def _accumulate(
    total: NDArray[np.float64], values: NDArray[np.float64], parts: list[float]
) -> None:
    """Add the products of values and parts to a sum, `total[0] + total[1]`, in place."""
    upper, lower = _split(values)
    for part in parts:
        product = upper * part
        before = total[0].copy()
        total[0] += product
        # What rounding that sum has dropped, exactly.
        virtual = total[0] - before
        total[1] += (before - (total[0] - virtual)) + (product - virtual)
        total[1] += lower * part


def _divide(
    total: NDArray[np.float64], divisor: float, parts: list[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a quotient and what is to be added to it for the digits that it lacks."""
    first = (total[0] + total[1]) / divisor
    remainder = total.copy()
    for start in range(0, first.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        _accumulate(remainder[:, block], first[block], [-part for part in parts])
    return first, (remainder[0] + remainder[1]) / divisor
