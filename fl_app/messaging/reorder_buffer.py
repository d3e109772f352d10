"""Things that arrive in any order, handed on in one."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ReorderBuffer(Generic[Item]):
    """Holds back what arrives early until all before it are there.

    Sums of floating-point numbers depend on the order of the terms; this makes it that of the
    participants.
    """

    def __init__(self, order: Sequence[str]) -> None:
        """Begin.

        Args:
            order: The names under which items will arrive, in the order to hand them on.
        """
        self._order = tuple(order)
        self._next = 0
        self._early: dict[str, Item] = {}

    def arrived(self, name: str, item: Item) -> Iterator[Item]:
        """Take an item in, and yield those whose turn it is now."""
        self._early[name] = item
        while self._next < len(self._order) and self._order[self._next] in self._early:
            name = self._order[self._next]
            self._next += 1
            yield self._early.pop(name)
