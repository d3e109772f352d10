"""Aggregators: the updates of a round become one delta."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.updates import AggregationError, Arrays, ClientUpdate

Aggregator = Callable[[Sequence[ClientUpdate]], Arrays]
"""From checked updates, sorted by participant, to one delta shaped like the model."""

_BLOCK = 2**15  # elements; two float64 buffers of this size stay in a core's cache


def weighted_mean(updates: Sequence[ClientUpdate]) -> Arrays:
    """Average the deltas, each weighted by its share of the examples: step 3.

    Sums are kept in float64 and rounded once, to the dtype of the updates. For k float32
    updates the result is within half a unit in the last place, plus k * 2**-52 of the mean
    magnitude, of the exact mean; identical updates give themselves. For a result that is
    the same to the bit in every run, pass the updates in the same order.

    Beyond the updates it takes the memory of the result, whatever their number.

    Args:
        updates: Checked updates, all shaped like the model.

    Returns:
        One array per parameter, in model order, with the dtypes of the updates.

    Raises:
        AggregationError: If `updates` is empty, or their arrays differ in number or shape.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629, algorithm 1.
    """
    check_same_form(updates)
    counts = [update.num_examples for update in updates]
    return [
        _weighted_mean([update.delta[parameter] for update in updates], counts)
        for parameter in range(len(updates[0].delta))
    ]


def _weighted_mean(arrays: Arrays, counts: Sequence[int]) -> NDArray[Any]:
    """Average one parameter, block by block: each array is read from memory once."""
    mean = np.empty(arrays[0].shape, dtype=arrays[0].dtype)
    flat_mean = mean.reshape(-1)
    # `flat` copies no more than the slice taken, also where the layout is not C's.
    flat = [a.reshape(-1) if a.flags.c_contiguous else a.flat for a in arrays]
    n = sum(counts)
    totals = np.empty(min(_BLOCK, mean.size))
    terms = np.empty_like(totals)
    for start in range(0, mean.size, _BLOCK):
        block = slice(start, min(start + _BLOCK, mean.size))
        total, term = totals[: block.stop - start], terms[: block.stop - start]
        total.fill(0)
        for values, count in zip(flat, counts, strict=True):
            # sum of n_i * delta_i, divided by n below: n_i / n is not exact in binary.
            np.copyto(term, values[block])
            np.multiply(term, count, out=term)
            np.add(total, term, out=total)
        np.divide(total, n, out=total)
        flat_mean[block] = total
    return mean


def check_same_form(updates: Sequence[ClientUpdate]) -> None:
    """Raise `AggregationError` unless there are updates, all with arrays of equal shapes."""
    if not updates:
        raise AggregationError("there is no update to aggregate")
    shapes = [array.shape for array in updates[0].delta]
    for update in updates[1:]:
        if [array.shape for array in update.delta] != shapes:
            raise AggregationError(
                f"the updates of participants {updates[0].participant} and "
                f"{update.participant} differ in shape"
            )
