"""What the parts of a strategy remember between rounds, as one set of named arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class PartWithState(Protocol):
    """A part that a checkpoint has to keep something of."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return what it has to remember, as named arrays."""
        ...

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned for a part built alike."""
        ...


def held_state(parts: Mapping[str, object]) -> dict[str, NDArray[Any]]:
    """Return the arrays of all parts that have any, each under "part/name"; not to be kept.

    A part may write to them in its next step.
    """
    return {
        f"{part}/{name}": array
        for part, holder in _with_state(parts).items()
        for name, array in holder.state().items()
    }


def state_of(parts: Mapping[str, object]) -> dict[str, NDArray[Any]]:
    """Return copies of what `held_state` returns."""
    return {name: np.array(array) for name, array in held_state(parts).items()}


def load_state_of(parts: Mapping[str, object], state: Mapping[str, NDArray[Any]]) -> None:
    """Go on from what `state_of` returned for parts built alike.

    Raises:
        ValueError: If it is that of other parts.
    """
    holders = _with_state(parts)
    by_part: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in holders}
    for key, array in state.items():
        part, _, name = key.partition("/")
        if part not in by_part:
            raise ValueError(f"it holds the state of {part}, which is not in use")
        by_part[part][name] = array
    for part, holder in holders.items():
        holder.load_state(by_part[part])


def _with_state(parts: Mapping[str, object]) -> dict[str, PartWithState]:
    return {name: part for name, part in parts.items() if isinstance(part, PartWithState)}


STATE_ROUND_KEY = "state-round"
"""In the fit config: the round whose state to go on from; 0: begin anew."""


STATE_KEEP_KEY = "state-keep-from"
"""In the fit config: the oldest round whose state the server may still ask for."""


STATE_LOST_KEY = "state-lost"
"""In the fit metrics: the participant's state was not there, and it began anew."""


class ClientStateRounds:
    """The round in which each participant's update last counted."""

    def __init__(self) -> None:
        self._counted: dict[str, int] = {}
        self._checkpointed: dict[str, int] = {}

    def instruction(self, participant: str) -> dict[str, int]:
        """Return what to tell a participant about its state."""
        return {
            STATE_ROUND_KEY: self._counted.get(participant, 0),
            STATE_KEEP_KEY: self._checkpointed.get(participant, 0),
        }

    def record(self, server_round: int, participants: Sequence[str]) -> None:
        """Note whose updates counted in a round."""
        for participant in participants:
            self._counted[participant] = server_round

    def begin_anew(self) -> None:
        """Let every participant begin anew, whatever it remembers."""
        self._counted = {}

    def checkpoint_saved(self) -> None:
        """Note that a resume will not go back behind this moment."""
        self._checkpointed = dict(self._counted)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint has to keep, by participant."""
        return {name: np.array(counted) for name, counted in self._counted.items()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._counted = {name: int(counted) for name, counted in state.items()}
        self.checkpoint_saved()


class StrategyState(Protocol):
    """What a checkpoint asks of a strategy; one without it has nothing to remember."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return what has to survive, as named arrays."""
        ...

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned; `ValueError` if it does not fit."""
        ...

    def checkpoint_saved(self) -> None:
        """Learn that what `state` returned is safe on disk."""
        ...


def attributes_of(holder: object, kind: type) -> list[tuple[object, dict[str, Any]]]:
    """Return what an object that saves no state remembers: its attributes, with copies of arrays.

    Args:
        holder: The object.
        kind: Likewise of every attribute that is one of these, as of a strategy that wraps another.
    """
    attributes = vars(holder)
    wrapped = [value for value in attributes.values() if isinstance(value, kind)]
    own = {name: _copied(value) for name, value in attributes.items()}
    return [(holder, own), *(pair for inner in wrapped for pair in attributes_of(inner, kind))]


def _copied(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is list:
        return [_copied(item) for item in value]
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return value


def restore_attributes(remembered: Sequence[tuple[object, dict[str, Any]]]) -> None:
    """Let objects be again as they were when `attributes_of` looked at them."""
    for holder, attributes in remembered:
        vars(holder).clear()
        vars(holder).update(attributes)
