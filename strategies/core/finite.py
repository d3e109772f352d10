"""A check for finite values that costs one pass over the bytes and no memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.native import sum_kernels


def all_finite(arrays: Sequence[NDArray[Any]]) -> bool:
    """Tell whether no value of an update is NaN or infinite.

    Compiled where that is possible: an update then takes one call, whatever its number of
    arrays, and the time of reading it.
    """
    kernels = sum_kernels.available()
    if kernels is not None and sum_kernels.takes(arrays):
        return kernels.all_finite(arrays)
    return not any(num_not_finite(array) for array in arrays)


def num_not_finite(array: NDArray[Any]) -> int:
    """Count the values of an array of numbers that are NaN or infinite.

    A sum of squares is finite only if all its terms are, and takes a fraction of the time
    of looking at each. Finite values may still overflow it, so a suspicion is looked at
    closely.
    """
    flat = array.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.vdot(flat, flat)):
            return 0
    return int(np.count_nonzero(~np.isfinite(array)))
