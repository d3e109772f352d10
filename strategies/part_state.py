"""What the parts of a strategy remember between rounds, as one set of named arrays."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

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


def state_of(parts: Mapping[str, object]) -> dict[str, NDArray[Any]]:
    """Return the arrays of all parts that have any, each under "part/name"."""
    return {
        f"{part}/{name}": array
        for part, holder in _with_state(parts).items()
        for name, array in holder.state().items()
    }


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
