"""Aggregators: the updates of a round become one delta."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from strategies.core.client_update import (
    AggregationError,
    Arrays,
    ClientUpdate,
    UpdateSum,
    check_alike,
)

AggregatorFunction = Callable[[Sequence[ClientUpdate]], Arrays]
"""From checked updates, sorted by participant, to one delta shaped like the model."""


class Accumulator(Protocol):
    """A round's aggregate in the making."""

    def add(self, update: ClientUpdate) -> None:
        """Take in the next update, in the order of the participants."""
        ...

    def add_sum(self, update_sum: UpdateSum) -> None:
        """Take in a sum of updates that was formed elsewhere.

        Raises:
            AggregationError: If the aggregator has to see every update.
        """
        ...

    def result(self) -> Arrays:
        """Return the aggregate of everything that was taken in.

        Raises:
            AggregationError: If the updates cannot be aggregated.
        """
        ...


@dataclass(frozen=True)
class PrivacySpent:
    """What a private aggregator tells of itself.

    Attributes:
        clip_norm: To which deltas are clipped in the round to come.
        epsilon: The epsilon of the participant that has spent most.
    """

    clip_norm: float
    epsilon: float


class Aggregator:
    """Step 3 of the algorithm, and what one may offer besides; a part of one's own derives from it.

    Only `__call__` has to be written. What else there is has a default, which suits an aggregator
    that looks at all updates at once and remembers nothing. A plain function will do as well.

    Attributes:
        needs_local_steps: Whether an update without `local_steps` is refused.
        least_updates: How few updates it is defined for.
        takes_weights: Whether a participant may send its weights, of which the server makes the
            delta, instead of the delta itself.
    """

    needs_local_steps: ClassVar[bool] = False

    @property
    def least_updates(self) -> int:
        """How few updates it is defined for."""
        return 1

    @property
    def takes_weights(self) -> bool:
        """Whether a participant may send its weights instead of a delta."""
        return True

    def without_effect(self, num_updates: int) -> str | None:
        """Say why it does no more than a plain mean with so many updates; `None` if it does."""
        return None

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate all updates of a round.

        Args:
            updates: Checked updates, sorted by participant, all shaped like the model.

        Returns:
            One array per parameter, in model order, with the dtypes of the updates.

        Raises:
            AggregationError: If they cannot be aggregated.
        """
        raise NotImplementedError

    def begin(self) -> Accumulator:
        """Begin a round whose updates come one after the other; by default they are held."""
        return Held(self)

    def before_round(self, participants: Sequence[str]) -> None:
        """Look at who is about to be asked to train.

        Raises:
            BudgetSpent: If the round must not begin.
        """

    def privacy_spent(self) -> PrivacySpent | None:
        """Return how much privacy is spent; `None` where there is no differential privacy."""
        return None

    def charge(self, participants: Sequence[str]) -> None:
        """Pay for a sum that the server has seen, even if it is of no use."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return what it has to remember between rounds, as named arrays."""
        return {}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: If it is that of another part.
        """
        if state:
            raise ValueError(f"{self!r} remembers nothing, and is given {', '.join(state)}")


class Held:
    """The updates of a round, held until all are there."""

    def __init__(self, aggregator: AggregatorFunction) -> None:
        """Begin; `aggregator` is given the updates at the end."""
        self._aggregator = aggregator
        self._updates: list[ClientUpdate] = []

    def add(self, update: ClientUpdate) -> None:
        """See `Accumulator`."""
        self._updates.append(update)

    def add_sum(self, update_sum: UpdateSum) -> None:
        """See `Accumulator`: it has to see every update."""
        raise AggregationError(
            f"{self._aggregator!r} has to see every update, and the deltas of "
            f"{len(update_sum.participants)} participants come as a sum"
        )

    def result(self) -> Arrays:
        """See `Accumulator`."""
        return self._aggregator(self._updates)


class FunctionAggregator(Aggregator):
    """A plain function as an aggregator."""

    def __init__(self, function: AggregatorFunction) -> None:
        """Set up.

        Args:
            function: From checked updates to one delta.
        """
        self._function = function

    def __repr__(self) -> str:
        return str(getattr(self._function, "__name__", repr(self._function)))

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """See `Aggregator`."""
        return self._function(updates)


_OFFERS = (
    *("needs_local_steps", "least_updates", "without_effect", "takes_weights"),
    *("begin", "before_round", "charge", "load_state"),
)


def as_aggregator(part: Aggregator | AggregatorFunction) -> Aggregator:
    """Return an aggregator: the part itself, or a plain function in the form of one.

    Raises:
        TypeError: If it offers more than a function does and is not derived from `Aggregator`:
            what it offers would be passed over.
    """
    if isinstance(part, Aggregator):
        return part
    if offers := [name for name in _OFFERS if hasattr(part, name)]:
        raise TypeError(
            f"{part!r} has {', '.join(offers)}, which counts only in a class that is derived from "
            "strategies.Aggregator"
        )
    return FunctionAggregator(part)


def check_same_form(updates: Sequence[ClientUpdate]) -> None:
    """Raise `AggregationError` unless there are updates, all with arrays of equal shapes."""
    if not updates:
        raise AggregationError("there is no update to aggregate")
    for update in updates[1:]:
        check_alike(updates[0], update)
