"""What a participant contributes to a round, and the check it has to pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.core.finite import all_finite, num_not_finite

Arrays = list[NDArray[Any]]
"""A model or a delta: one array per parameter, in model order."""


UPDATE_KEY = "update"
"""In the fit config what the server asks for, in the fit metrics what the reply holds."""
DELTA = "delta"
WEIGHTS = "weights"

LOCAL_STEPS_KEY = "local-steps"
"""In the fit metrics: how many steps the participant took, see `ClientUpdate.local_steps`."""


class UpdateError(ValueError):
    """An update that must not be aggregated.

    Attributes:
        participant: Who sent it.
        reason: Why it is refused, as a sentence without a subject.
    """

    def __init__(self, participant: str, reason: str) -> None:
        super().__init__(f"update of participant {participant} refused: {reason}")
        self.participant = participant
        self.reason = reason


class AggregationError(ValueError):
    """A set of updates that cannot be aggregated, whatever each one is by itself."""


@dataclass(frozen=True)
class ClientUpdate:
    """One participant's contribution to one round.

    Attributes:
        participant: The name that identifies the participant in every run: its
            partition id in simulation, its declared name in deployment.
        delta: Local minus global weights, one array per parameter.
        num_examples: Number of examples (not batches) it was trained on.
        local_steps: Its steps of SGD, in steps without momentum that go as far (the norm
            |a_i|_1 of FedNova, arXiv:2007.07481); `None` where it did not tell.
    """

    participant: str
    delta: Arrays
    num_examples: int
    local_steps: float | None = None


@dataclass(frozen=True)
class UpdateSum:
    """The sum of some participants' deltas, formed where the server does not see each of them.

    Secure aggregation forms one under masks. It stands for the updates it is of, exactly: sums of
    sums are the same sum.

    Attributes:
        participants: Whose updates are in it.
        num_examples: Of all of them together.
        mean: The sum of `n_i * delta_i` over `num_examples`, one array per parameter.
    """

    participants: tuple[str, ...]
    num_examples: int
    mean: Arrays


_LONGEST_NUMBER = 18


def participant_order(participant: str) -> tuple[int, int, str]:
    """Sort key for participants: numbers by value and first, then names.

    Sums are taken in this order, so that they do not depend on the order of arrival.
    """
    # A participant names itself: what is too long for a number is a name.
    if participant.isascii() and participant.isdecimal() and len(participant) <= _LONGEST_NUMBER:
        return 0, int(participant), participant
    return 1, 0, participant


def check_update(
    update: ClientUpdate, like: Sequence[NDArray[Any]], names: Sequence[str] = ()
) -> None:
    """Raise unless `update` can be added to a model of the form of `like`.

    Args:
        update: What was decoded from a participant's reply.
        like: The global weights, or anything else with their shapes and dtypes.
        names: Of the arrays, where they are known: an error has them.

    Raises:
        UpdateError: If the number of arrays, a shape or a dtype differs, a value is not
            finite, the example count is not a positive whole number, or the number of local
            steps, where there is one, not a positive number.
    """
    reason = (
        _example_count_fault(update.num_examples)
        or _step_count_fault(update.local_steps)
        or form_fault(update.delta, like, names)
        or _finiteness_fault(update.delta, names)
    )
    if reason is not None:
        raise UpdateError(update.participant, reason)


def check_sum(update_sum: UpdateSum, like: Sequence[NDArray[Any]]) -> None:
    """Raise unless a sum can be added to a model of the form of `like`.

    Raises:
        AggregationError: If nobody or somebody twice is in it, its example count is not a positive
            whole number, its form differs, or a value is not finite.
    """
    names = update_sum.participants
    fault = _example_count_fault(update_sum.num_examples) or form_fault(update_sum.mean, like)
    if not names or len(set(names)) < len(names):
        fault = "nobody is in it, or a participant twice"
    if reason := fault or _finiteness_fault(update_sum.mean):
        raise AggregationError(f"the sum of {len(names)} updates cannot be used: {reason}")


def check_alike(first: ClientUpdate, other: ClientUpdate) -> None:
    """Raise `AggregationError` if two updates differ in the number or shapes of arrays."""
    if [a.shape for a in other.delta] != [a.shape for a in first.delta]:
        raise AggregationError(
            f"the updates of participants {first.participant} and {other.participant} "
            "differ in shape"
        )


def _example_count_fault(num_examples: object) -> str | None:
    if isinstance(num_examples, bool) or not isinstance(num_examples, int | np.integer):
        return f"its number of examples is {num_examples!r}, a positive whole number is needed"
    if num_examples <= 0:
        return f"its number of examples is {num_examples}, a positive number is needed"
    return None


def _step_count_fault(local_steps: object) -> str | None:
    if local_steps is None:
        return None
    number = isinstance(local_steps, int | float) and not isinstance(local_steps, bool)
    if not number or not 0 < float(local_steps) < math.inf:  # type: ignore[arg-type]
        return f"its number of local steps is {local_steps!r}, a positive number is needed"
    return None


def form_fault(
    arrays: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]], names: Sequence[str] = ()
) -> str | None:
    """Say in which way arrays differ in number, shape or dtype from those of a model."""
    if len(arrays) != len(like):
        return f"it has {len(arrays)} arrays, the model has {len(like)}"
    for index, (array, expected) in enumerate(zip(arrays, like, strict=True)):
        if array.shape != expected.shape:
            shape = f"shape {array.shape}, the model's has {expected.shape}"
            return f"{_named(index, names)} has {shape}"
        if array.dtype != expected.dtype:
            dtype = f"dtype {array.dtype}, the model's has {expected.dtype}"
            return f"{_named(index, names)} has {dtype}"
    return None


def _named(index: int, names: Sequence[str]) -> str:
    return f"array {index}" + (f" ({names[index]})" if index < len(names) else "")


def _finiteness_fault(delta: Arrays, names: Sequence[str] = ()) -> str | None:
    if all_finite(delta):
        return None
    for index, array in enumerate(delta):
        if bad := num_not_finite(array):
            return f"{_named(index, names)} holds {bad} values that are not finite"
    return None


def steps_of(update: ClientUpdate) -> float:
    """Return a participant's number of local steps.

    Raises:
        UpdateError: If it did not tell.
    """
    if update.local_steps is None:
        raise UpdateError(update.participant, "it does not tell its number of local steps")
    return update.local_steps
