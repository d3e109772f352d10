"""A delta as one vector of float32, which is what codecs that round work on.

One vector, because every array on the wire costs a header of 128 bytes, and because a codec
then sees the whole model: its largest values, wherever they are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.core.client_update import Arrays
from strategies.core.finite import num_not_finite

Vector = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_LARGEST = float(np.finfo(np.float32).max)


def num_values(like: Sequence[NDArray[Any]]) -> int:
    """Return how many values a model has."""
    return sum(array.size for array in like)


def to_vector(delta: Sequence[NDArray[Any]]) -> Vector:
    """Return all values of a delta in model order, as a new float32 vector.

    What float32 cannot hold, in a delta of float64, becomes its largest value.

    Raises:
        ValueError: If an array is not of floating-point numbers, or a value is not finite:
            there is no code for NaN, and a participant that diverged has nothing to send.
    """
    vector = np.empty(num_values(delta), np.float32)
    start = 0
    for index, array in enumerate(delta):
        _check_floating(index, array)
        if bad := num_not_finite(array):
            raise ValueError(
                f"array {index} of the delta holds {bad} values that are not finite: local "
                "training diverged, a smaller learning rate may help"
            )
        flat = array.ravel()
        part = vector[start : start + flat.size]
        part[:] = flat if flat.itemsize <= 4 else np.clip(flat, -_LARGEST, _LARGEST)
        start += flat.size
    return vector


def from_vector(vector: Vector, like: Sequence[NDArray[Any]]) -> Arrays:
    """Undo `to_vector`: arrays of the shapes and dtypes of `like`.

    The float32 ones are views of the vector. What float16 cannot hold becomes its largest
    value.

    Raises:
        ValueError: If an array of `like` is not of floating-point numbers.
    """
    arrays: Arrays = []
    start = 0
    for index, expected in enumerate(like):
        _check_floating(index, expected)
        part = vector[start : start + expected.size]
        if expected.itemsize < 4:
            largest = float(np.finfo(expected.dtype).max)
            part = np.clip(part, -largest, largest)
        arrays.append(part.astype(expected.dtype, copy=False).reshape(expected.shape))
        start += expected.size
    return arrays


def bytes_of(payload: Sequence[NDArray[Any]]) -> Bytes:
    """Return the bytes of a payload that has to be one row of them.

    Raises:
        ValueError: If it is anything else.
    """
    if len(payload) != 1:
        raise ValueError(f"the payload has {len(payload)} arrays, one of bytes is expected")
    (data,) = payload
    if data.dtype != np.uint8 or data.ndim != 1:
        raise ValueError(
            f"the payload has dtype {data.dtype} and shape {data.shape}, one row of uint8 is "
            "expected"
        )
    return np.ascontiguousarray(data)


def _check_floating(index: int, array: NDArray[Any]) -> None:
    if array.dtype.kind != "f":
        raise ValueError(
            f"array {index} has dtype {array.dtype}, a codec that rounds takes floating-point "
            "numbers"
        )


Point = NDArray[np.float64]


def to_point(delta: Arrays) -> Point:
    """Return all values in model order, as float64."""
    return np.concatenate([np.zeros(0), *(d.ravel() for d in delta)])


def from_point(point: Point, like: Arrays) -> Arrays:
    """Return arrays of the shapes and dtypes of `like`, each value rounded once."""
    ends = np.cumsum([d.size for d in like], dtype=np.intp)
    parts = np.split(point, ends)[:-1]
    return [part.reshape(d.shape).astype(d.dtype) for part, d in zip(parts, like, strict=True)]
