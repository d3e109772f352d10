"""What laws compare."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.contract.laws import BrokenLawError
from strategies.core.client_update import Arrays

Some = Sequence[NDArray[Any]]


def demand(holds: bool, otherwise: str) -> None:
    """Raise `BrokenLawError` unless something holds."""
    if not holds:
        raise BrokenLawError(otherwise)


def demand_form(arrays: Some, like: Some) -> None:
    """Demand NumPy arrays with the shapes and dtypes of others."""
    kinds = [type(array).__name__ for array in arrays if type(array) is not np.ndarray]
    demand(not kinds, f"there is a {' and a '.join(kinds)}, where arrays should be")
    form, expected = ([(a.shape, str(a.dtype)) for a in some] for some in (arrays, like))
    demand(form == expected, f"shapes and dtypes are {form}, and should be {expected}")


def demand_same_bits(arrays: Some, expected: Some, what: str) -> None:
    """Demand arrays that are equal to the bit."""
    demand(bits_of(arrays) == bits_of(expected), what)


def demand_close(arrays: Some, expected: Some, tolerance: float, what: str) -> None:
    """Demand arrays that differ by no more than `tolerance` anywhere."""
    for index, (array, other) in enumerate(zip(arrays, expected, strict=True)):
        off = np.abs(array.astype(np.float64) - other.astype(np.float64)).max(initial=0.0)
        demand(bool(off <= tolerance), f"{what}: array {index} is off by {off:.3g}")


def bits_of(arrays: Some) -> list[bytes]:
    """Return the bytes of each array."""
    return [array.tobytes() for array in arrays]


def frozen(arrays: Some) -> Arrays:
    """Return read-only copies."""
    copies = [np.array(array) for array in arrays]
    for copy in copies:
        copy.setflags(write=False)
    return copies


def example_arrays(generator: np.random.Generator) -> Arrays:
    """Draw a small model: parameters of several shapes, one of them a single number."""
    shapes = ((6, 1, 3, 3), (40, 30), (7,), ())
    return [np.asarray(generator.normal(0.0, 0.1, shape), np.float32) for shape in shapes]
