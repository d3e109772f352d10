"""What a participant contributes to a round, and the check it has to pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.finite import num_not_finite

Arrays = list[NDArray[Any]]
"""A model or a delta: one array per parameter, in model order."""


UPDATE_KEY = "update"
"""In the fit config what the server asks for, in the fit metrics what the reply holds."""
DELTA = "delta"
WEIGHTS = "weights"


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
    """

    participant: str
    delta: Arrays
    num_examples: int


def participant_order(participant: str) -> tuple[int, int, str]:
    """Sort key for participants: numbers by value and first, then names.

    Sums are taken in this order, so that they do not depend on the order of arrival.
    """
    if participant.isascii() and participant.isdecimal():
        return 0, int(participant), participant
    return 1, 0, participant


def check_update(update: ClientUpdate, like: Sequence[NDArray[Any]]) -> None:
    """Raise unless `update` can be added to a model of the form of `like`.

    Args:
        update: What was decoded from a participant's reply.
        like: The global weights, or anything else with their shapes and dtypes.

    Raises:
        UpdateError: If the number of arrays, a shape or a dtype differs, a value is not
            finite, or the example count is not a positive whole number.
    """
    reason = _example_count_fault(update.num_examples) or _array_fault(update.delta, like)
    if reason is not None:
        raise UpdateError(update.participant, reason)


def _example_count_fault(num_examples: object) -> str | None:
    if isinstance(num_examples, bool) or not isinstance(num_examples, int | np.integer):
        return f"its number of examples is {num_examples!r}, a positive whole number is needed"
    if num_examples <= 0:
        return f"its number of examples is {num_examples}, a positive number is needed"
    return None


def _array_fault(delta: Arrays, like: Sequence[NDArray[Any]]) -> str | None:
    if len(delta) != len(like):
        return f"it has {len(delta)} arrays, the model has {len(like)}"
    for index, (array, expected) in enumerate(zip(delta, like, strict=True)):
        if array.shape != expected.shape:
            return f"array {index} has shape {array.shape}, the model's has {expected.shape}"
        if array.dtype != expected.dtype:
            return f"array {index} has dtype {array.dtype}, the model's has {expected.dtype}"
        if bad := num_not_finite(array):
            return f"array {index} holds {bad} values that are not finite"
    return None
