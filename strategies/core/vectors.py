"""A delta as one vector: of float32 for codecs that round, of float64 for distances.

One vector, because every array on the wire costs a header of 128 bytes, and because a codec
then sees the whole model: its largest values, wherever they are.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from strategies.core.client_update import Arrays
from strategies.core.finite import num_not_finite

Vector = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Floating = TypeVar("Floating", np.float32, np.float64)


def num_values(like: Sequence[NDArray[Any]]) -> int:
    """Return how many values a model has."""
    return sum(array.size for array in like)


def euclidean_norm(arrays: Sequence[NDArray[Any]]) -> float:
    """Return the Euclidean norm over all values, summed in float64.

    Squares that float64 cannot hold are taken of values that are scaled, so that it is off by
    round-off alone; infinite where float64 cannot hold the norm itself, or a value is.
    """
    with np.errstate(over="ignore"):
        total = sum(float(np.sum(np.square(a, dtype=np.float64))) for a in arrays)
    if _LEAST_SUM < total < math.inf or math.isnan(total):
        return math.sqrt(total)
    largest = max((float(np.abs(a).max(initial=0)) for a in arrays), default=0.0)
    if largest == 0 or not math.isfinite(largest):
        return largest
    exponent = int(np.frexp(largest)[1])
    scaled = (np.ldexp(np.asarray(a, np.float64), -exponent) for a in arrays)
    with np.errstate(over="ignore"):
        root = math.sqrt(sum(float(np.sum(np.square(a))) for a in scaled))
        return float(np.ldexp(root, exponent))


_LEAST_SUM = 2.0**-900  # below it squares may be missing; those of float32 add up to more, or 0


def ravel(arrays: Sequence[NDArray[Any]], dtype: type[Floating] = np.float32) -> NDArray[Floating]:  # type: ignore[assignment]
    """Return all values in model order, as one new vector.

    What `dtype` cannot hold becomes its largest value.

    Args:
        arrays: A delta.
        dtype: float32, which codecs work on, or float64, for distances.

    Raises:
        ValueError: If a value is not finite: there is no code for NaN, and a participant that
            diverged has nothing to send. If an array is not of floating-point numbers and the
            vector is of float32, which may not hold them.
    """
    vector = np.empty(num_values(arrays), dtype)
    largest = float(np.finfo(dtype).max)
    start = 0
    for index, array in enumerate(arrays):
        if vector.itemsize <= 4:
            _check_floating(index, array)
        if bad := num_not_finite(array):
            raise ValueError(
                f"array {index} of the delta holds {bad} values that are not finite: local "
                "training diverged, a smaller learning rate may help"
            )
        flat = array.ravel()
        part = vector[start : start + flat.size]
        part[:] = np.clip(flat, -largest, largest) if flat.itemsize > part.itemsize else flat
        start += flat.size
    return vector


def unravel(vector: NDArray[Any], like: Sequence[NDArray[Any]]) -> Arrays:
    """Undo `ravel`: arrays of the shapes and dtypes of `like`, each value rounded once.

    Those of the vector's own dtype are views of it. What a smaller dtype cannot hold becomes its
    largest value.

    Raises:
        ValueError: If the vector is of float32 and an array of `like` is not of floating-point
            numbers.
    """
    arrays: Arrays = []
    start = 0
    for index, expected in enumerate(like):
        if vector.itemsize <= 4:
            _check_floating(index, expected)
        part = vector[start : start + expected.size]
        if expected.dtype.kind == "f" and expected.itemsize < part.itemsize:
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
