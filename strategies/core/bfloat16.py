"""bfloat16 on the wire: the upper half of a float32, as uint16, since NumPy has no such dtype.

A model's bfloat16 parameters are float32 wherever is computed with them, and what the server keeps
of them is not rounded. What travels is: a participant's model could hold no more of the weights,
and its delta is rounded where it is made, so that nobody takes it for another.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.core.client_update import Arrays

_NAN = 0x7FC0


def to_bits(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16, to nearest with ties to even, and return it as uint16.

    What is too large becomes infinite, as in torch; NaN stays NaN.
    """
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    upper = np.where(np.isnan(array), _NAN, rounded).astype(np.uint16)
    return upper.reshape(np.shape(array))


def from_bits(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Undo `to_bits`: exact."""
    wide = np.ascontiguousarray(bits, np.uint16).astype(np.uint32) << 16
    return wide.view(np.float32).reshape(np.shape(bits))


def as_sent(arrays: Sequence[NDArray[Any]], narrow: Sequence[bool]) -> Arrays:
    """Return arrays as they travel: those marked as uint16, by `to_bits`; others as they are."""
    return [to_bits(a) if marked else a for a, marked in zip(arrays, narrow, strict=True)]


def as_received(arrays: Sequence[NDArray[Any]], narrow: Sequence[bool]) -> Arrays:
    """Undo `as_sent`.

    What is marked and came as float32 stays as it is, and so does what comes after the arrays of
    the model, such as SCAFFOLD's control variate.
    """
    marks = [*narrow, *[False] * (len(arrays) - len(narrow))]
    return [
        from_bits(a) if marked and a.dtype == np.uint16 else a
        for a, marked in zip(arrays, marks, strict=False)
    ]


def rounded(arrays: Sequence[NDArray[Any]], narrow: Sequence[bool]) -> Arrays:
    """Return arrays with those marked rounded to bfloat16, as float32."""
    return [from_bits(to_bits(a)) if n else a for a, n in zip(arrays, narrow, strict=True)]
