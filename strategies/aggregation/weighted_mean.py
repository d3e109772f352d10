"""The weighted mean of updates that come one by one, in the memory of a few models."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from strategies.aggregation.base import Aggregator
from strategies.aggregation.compensated_sum import CompensatedSum
from strategies.core.client_update import (
    AggregationError,
    Arrays,
    ClientUpdate,
    UpdateSum,
    check_alike,
)
from strategies.native import sum_kernels

_HELD = 10  # updates that are added together, so that the totals are read and written once
_BLOCK = 2**15  # elements; two float64 buffers of this size stay in a core's cache


class WeightedSum:
    """Adds up n_i * delta_i in float64, in the order of the calls, and divides once.

    Updates of float64 are added up in twice its digits, see `CompensatedSum`.

    The result is a function of the updates and their order alone: not of how many are held
    before they are added, nor of whether the sum is compiled or NumPy's. Callers add in the
    order of the participants, and so it does not depend on that of arrival.

    Takes the memory of `held` updates and, beyond that many, of totals of twice the size of one;
    of float64 updates in any case.
    """

    def __init__(self, held: int = _HELD) -> None:
        """Begin a round.

        Args:
            held: How many updates to hold before they are added together.
        """
        self._held = held
        self._first: ClientUpdate | None = None
        self._compensated: dict[int, CompensatedSum] = {}  # of arrays of float64, by place
        self._arrays: list[Arrays] = []
        self._weights: list[float] = []
        self._totals: Arrays | None = None
        self._n = 0

    def add(self, update: ClientUpdate, weight: float | None = None) -> None:
        """Add an update; its arrays are not changed, and must not change before `result`.

        Args:
            update: The update; its number of examples is added to what is divided by.
            weight: What to multiply it by, if not by its number of examples.

        Raises:
            AggregationError: If its arrays differ from the first one's in number or shape.
        """
        if self._first is None:
            self._first = replace(update, delta=[_only_form(a) for a in update.delta])
            doubles = (i for i, a in enumerate(update.delta) if a.dtype == np.float64)
            self._compensated = {i: CompensatedSum(update.delta[i].size) for i in doubles}
        check_alike(self._first, update)
        if len(self._arrays) == self._held:
            self._add_held()
        weight = update.num_examples if weight is None else weight
        for place, total in self._compensated.items():
            total.add(update.delta[place], weight)
        self._arrays.append(self._others(update.delta))
        self._weights.append(weight)
        self._n += update.num_examples

    def _others(self, arrays: Arrays) -> Arrays:
        """Leave out the arrays that are added up in twice their digits."""
        if not self._compensated:
            return arrays
        return [a for place, a in enumerate(arrays) if place not in self._compensated]

    def add_sum(self, update_sum: UpdateSum) -> None:
        """Add a sum of updates; it counts as the updates that are in it.

        Raises:
            AggregationError: If its arrays differ from the first update's in number or shape.
        """
        names = ", ".join(update_sum.participants)
        self.add(ClientUpdate(names, update_sum.mean, update_sum.num_examples))

    def _add_held(self) -> None:
        before = self._totals
        if self._totals is None:
            self._totals = _empty_like(self._arrays[0], np.float64)  # of two updates' size
        _sum_up(self._arrays, self._weights, before, self._totals)
        self._arrays, self._weights = [], []

    def result(self) -> Arrays:
        """Return sum(weight_i * delta_i) / sum(n_i), with the dtypes of the first update.

        Raises:
            AggregationError: If nothing was added.
        """
        if self._first is None:
            raise AggregationError("there is no update to aggregate")
        means = _empty_like(self._first.delta)
        _sum_up(self._arrays, self._weights, self._totals, self._others(means), self._n)
        for place, total in self._compensated.items():
            means[place][...] = total.quotient(self._n).reshape(means[place].shape)
        return means


def _only_form(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of the same shape and dtype that takes no memory."""
    return np.ndarray(array.shape, array.dtype, bytes(array.itemsize), strides=(0,) * array.ndim)


def _empty_like(arrays: Arrays, dtype: DTypeLike | None = None) -> Arrays:
    """Return new arrays of these shapes, in one piece of memory where their dtypes are equal.

    The system hands out one large piece in two thirds of the time of ten. That counts: to get
    the memory of a large model takes a third as long as to read ten updates of it.
    """
    dtypes = [a.dtype if dtype is None else np.dtype(dtype) for a in arrays]
    if len(set(dtypes)) != 1:
        return [np.empty(a.shape, own) for a, own in zip(arrays, dtypes, strict=True)]
    ends = list(accumulate(a.size for a in arrays))
    whole = np.empty(ends[-1], dtypes[0])
    return [whole[end - a.size : end].reshape(a.shape) for a, end in zip(arrays, ends, strict=True)]


def _sum_up(
    updates: Sequence[Arrays],
    weights: Sequence[float],
    before: Arrays | None,
    after: Arrays,
    n: int | None = None,
) -> None:
    """Write `before` + sum(weights * updates), over `n` if given; see `sum_kernels.Kernels`."""
    kernels = sum_kernels.available()
    to_take = updates if n is None else [*updates, after]  # totals are float64 in any case
    if kernels is not None and all(map(sum_kernels.takes, to_take)):
        kernels.weighted_sum(updates, weights, before, after, n)
        return
    for i in range(len(after)):
        _sum_up_blocks(
            [arrays[i] for arrays in updates],
            weights,
            None if before is None else before[i],
            after[i],
            1 if n is None else n,
        )


def _sum_up_blocks(
    arrays: Arrays,
    weights: Sequence[float],
    before: NDArray[np.float64] | None,
    after: NDArray[Any],
    n: int,
) -> None:
    """Do so for one parameter, block by block: each array is read from memory once."""
    # `flat` copies no more than the slice taken, also where the layout is not C's.
    flat = [a.reshape(-1) if a.flags.c_contiguous else a.flat for a in arrays]
    flat_before = None if before is None else before.reshape(-1)
    flat_after = after.reshape(-1)
    size = min(_BLOCK, after.size)
    terms, sums = np.empty(size), np.empty(size)
    for start in range(0, after.size, _BLOCK):
        block = slice(start, min(start + _BLOCK, after.size))
        term, total = terms[: block.stop - start], sums[: block.stop - start]
        np.copyto(total, 0 if flat_before is None else flat_before[block])
        for values, weight in zip(flat, weights, strict=True):
            # n_i * delta_i, divided by n at the end: n_i / n is not exact in binary.
            np.copyto(term, values[block])
            np.multiply(term, weight, out=term)
            np.add(total, term, out=total)
        flat_after[block] = np.divide(total, n, out=total)


class WeightedMean(Aggregator):
    """Average the deltas, each weighted by its share of the examples: step 3.

    Sums are kept in float64 and rounded once, to the dtype of the updates. For k float32
    updates the result is within half a unit in the last place, plus k * 2**-52 of the mean
    magnitude, of the exact mean; for float64 updates within half a unit, plus k * 2**-104.
    Identical updates give themselves. For a result that is the same to the bit in every run,
    pass the updates in the same order.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629, algorithm 1.
    """

    def __repr__(self) -> str:
        return "weighted_mean"

    def begin(self) -> WeightedSum:
        """Begin a round whose updates are added up as they come."""
        return WeightedSum()

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; beyond the updates it takes the memory of the result.

        Args:
            updates: Checked updates, all shaped like the model.

        Returns:
            One array per parameter, in model order, with the dtypes of the updates.

        Raises:
            AggregationError: If `updates` is empty, or their arrays differ in number or shape.
        """
        total = WeightedSum(held=len(updates) + 1)  # which are in memory anyway
        for update in updates:
            total.add(update)
        return total.result()


weighted_mean = WeightedMean()
