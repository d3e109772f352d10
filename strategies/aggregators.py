"""Aggregators: the updates of a round become one delta."""

from collections.abc import Callable, Sequence

import numpy as np

from strategies.updates import AggregationError, Arrays, ClientUpdate

Aggregator = Callable[[Sequence[ClientUpdate]], Arrays]
"""From checked updates, sorted by participant, to one delta shaped like the model."""


def weighted_mean(updates: Sequence[ClientUpdate]) -> Arrays:
    """Average the deltas, each weighted by its share of the examples: step 3.

    Sums are kept in float64 and rounded once, to the dtype of the updates. For k float32
    updates the result is within half a unit in the last place, plus k * 2**-52 of the mean
    magnitude, of the exact mean; identical updates give themselves. For a result that is
    the same to the bit in every run, pass the updates in the same order.

    Args:
        updates: Checked updates, all shaped like the model.

    Returns:
        One array per parameter, in model order, with the dtypes of the updates.

    Raises:
        AggregationError: If `updates` is empty, or their arrays differ in number or shape.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629, algorithm 1.
    """
    if not updates:
        raise AggregationError("there is no update to aggregate")
    _check_same_form(updates)
    n = sum(update.num_examples for update in updates)
    mean: Arrays = []
    for parameter, first in enumerate(updates[0].delta):
        total = np.zeros(first.shape, dtype=np.float64)
        for update in updates:
            # sum of n_i * delta_i, divided by n below: n_i / n is not exact in binary.
            total += np.multiply(update.delta[parameter], update.num_examples, dtype=np.float64)
        mean.append(np.asarray(total / n, dtype=first.dtype))
    return mean


def _check_same_form(updates: Sequence[ClientUpdate]) -> None:
    shapes = [array.shape for array in updates[0].delta]
    for update in updates[1:]:
        if [array.shape for array in update.delta] != shapes:
            raise AggregationError(
                f"the updates of participants {updates[0].participant} and "
                f"{update.participant} differ in shape"
            )
