"""A whole update as one point in space, for aggregators that measure distances."""

import numpy as np
from numpy.typing import NDArray

from strategies.updates import Arrays

Point = NDArray[np.float64]


def to_point(delta: Arrays) -> Point:
    """Return all values in model order, as float64."""
    return np.concatenate([np.zeros(0), *(d.ravel() for d in delta)])


def from_point(point: Point, like: Arrays) -> Arrays:
    """Return arrays of the shapes and dtypes of `like`, each value rounded once."""
    ends = np.cumsum([d.size for d in like], dtype=np.intp)
    parts = np.split(point, ends)[:-1]
    return [part.reshape(d.shape).astype(d.dtype) for part, d in zip(parts, like, strict=True)]
