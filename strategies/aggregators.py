"""Aggregators: the updates of a round become one delta."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from strategies.updates import AggregationError, Arrays, ClientUpdate
from strategies.weighted_sum import WeightedSum, check_alike

Aggregator = Callable[[Sequence[ClientUpdate]], Arrays]
"""From checked updates, sorted by participant, to one delta shaped like the model."""


class Fold(Protocol):
    """A round's aggregate in the making."""

    def add(self, update: ClientUpdate) -> None:
        """Take in the next update, in the order of the participants."""
        ...

    def result(self) -> Arrays:
        """Return what the aggregator would have returned for all of them at once."""
        ...


@runtime_checkable
class Folding(Protocol):
    """An aggregator that need not see all updates at once.

    It is called like every other, and can also be fed one update after the other while
    participants still train: a round then takes the memory of a few models, whatever its size.
    """

    def begin(self) -> Fold:
        """Begin a round."""
        ...

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate all updates of a round."""
        ...


class WeightedMean:
    """Average the deltas, each weighted by its share of the examples: step 3.

    Sums are kept in float64 and rounded once, to the dtype of the updates. For k float32
    updates the result is within half a unit in the last place, plus k * 2**-52 of the mean
    magnitude, of the exact mean; identical updates give themselves. For a result that is
    the same to the bit in every run, pass the updates in the same order.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629, algorithm 1.
    """

    def __repr__(self) -> str:
        return "weighted_mean"

    def begin(self) -> WeightedSum:
        """See `Folding`."""
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


def check_same_form(updates: Sequence[ClientUpdate]) -> None:
    """Raise `AggregationError` unless there are updates, all with arrays of equal shapes."""
    if not updates:
        raise AggregationError("there is no update to aggregate")
    for update in updates[1:]:
        check_alike(updates[0], update)
