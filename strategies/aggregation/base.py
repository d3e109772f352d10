"""Aggregators: the updates of a round become one delta."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from strategies.aggregation.weighted_mean import check_alike
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate

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


def check_same_form(updates: Sequence[ClientUpdate]) -> None:
    """Raise `AggregationError` unless there are updates, all with arrays of equal shapes."""
    if not updates:
        raise AggregationError("there is no update to aggregate")
    for update in updates[1:]:
        check_alike(updates[0], update)
