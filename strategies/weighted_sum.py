"""The weighted mean of updates that come one by one, in the memory of a few models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies import compiled_sum
from strategies.updates import AggregationError, Arrays, ClientUpdate

_HELD = 8  # updates that are added together, so that the totals are read and written once
_BLOCK = 2**15  # elements; two float64 buffers of this size stay in a core's cache


class WeightedSum:
    """Adds up n_i * delta_i in float64, in the order of the calls, and divides once.

    The result is a function of the updates and their order alone: not of how many are held
    before they are added, nor of whether the sum is compiled or NumPy's. Callers add in the
    order of the participants, and so it does not depend on that of arrival.

    Takes the memory of `held` updates and, beyond that many, of one model in float64.
    """

    def __init__(self, held: int = _HELD) -> None:
        """Begin a round.

        Args:
            held: How many updates to hold before they are added together.
        """
        self._held = held
        self._first: ClientUpdate | None = None
        self._arrays: list[Arrays] = []
        self._counts: list[int] = []
        self._totals: compiled_sum.Totals | None = None
        self._n = 0

    def add(self, update: ClientUpdate) -> None:
        """Add an update; its arrays are not changed, and must not change before `result`.

        Raises:
            AggregationError: If its arrays differ from the first one's in number or shape.
        """
        if self._first is None:
            self._first = update
        check_alike(self._first, update)
        self._arrays.append(update.delta)
        self._counts.append(update.num_examples)
        self._n += update.num_examples
        if len(self._arrays) >= self._held:
            if self._totals is None:
                self._totals = [np.zeros(a.size) for a in update.delta]
            _sum_up(self._arrays, self._counts, self._totals)
            self._arrays, self._counts = [], []

    def result(self) -> Arrays:
        """Return sum(n_i * delta_i) / sum(n_i), with the dtypes of the first update.

        Raises:
            AggregationError: If nothing was added.
        """
        if self._first is None:
            raise AggregationError("there is no update to aggregate")
        means = [np.empty(a.shape, a.dtype) for a in self._first.delta]
        _sum_up(self._arrays, self._counts, self._totals, self._n, means)
        return means


def check_alike(first: ClientUpdate, other: ClientUpdate) -> None:
    """Raise `AggregationError` if two updates differ in the number or shapes of arrays."""
    if [a.shape for a in other.delta] != [a.shape for a in first.delta]:
        raise AggregationError(
            f"the updates of participants {first.participant} and {other.participant} "
            "differ in shape"
        )


def _sum_up(
    updates: Sequence[Arrays],
    counts: Sequence[int],
    totals: compiled_sum.Totals | None,
    n: int = 1,
    means: Arrays | None = None,
) -> None:
    """Add the updates to the totals; or write (totals + updates) / n to `means`, if given."""
    kernel = compiled_sum.available()
    if kernel is not None and compiled_sum.takes([*updates, means or []]):
        kernel(updates, counts, totals, n, means)
        return
    form = means or totals or []
    for i in range(len(form)):
        _sum_up_blocks(
            [arrays[i] for arrays in updates],
            counts,
            None if totals is None else totals[i],
            n,
            None if means is None else means[i],
        )


def _sum_up_blocks(
    arrays: Arrays,
    counts: Sequence[int],
    totals: NDArray[np.float64] | None,
    n: int,
    mean: NDArray[Any] | None,
) -> None:
    """Do so for one parameter, block by block: each array is read from memory once."""
    # `flat` copies no more than the slice taken, also where the layout is not C's.
    flat = [a.reshape(-1) if a.flags.c_contiguous else a.flat for a in arrays]
    flat_mean = None if mean is None else mean.reshape(-1)
    size = (totals if flat_mean is None else flat_mean).size  # type: ignore[union-attr]
    terms, sums = np.empty(min(_BLOCK, size)), np.empty(min(_BLOCK, size))
    for start in range(0, size, _BLOCK):
        block = slice(start, min(start + _BLOCK, size))
        term, total = terms[: block.stop - start], sums[: block.stop - start]
        if flat_mean is None:
            total = totals[block]  # type: ignore[index]
        else:
            np.copyto(total, 0 if totals is None else totals[block])
        for values, count in zip(flat, counts, strict=True):
            # n_i * delta_i, divided by n at the end: n_i / n is not exact in binary.
            np.copyto(term, values[block])
            np.multiply(term, count, out=term)
            np.add(total, term, out=total)
        if flat_mean is not None:
            flat_mean[block] = np.divide(total, n, out=total)
