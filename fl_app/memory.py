"""A participant's memory over rounds: SCAFFOLD's control variate, a codec's residual."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from strategies.updates import Arrays

_CONTROL = "control/"
_RESIDUAL = "residual/"


@dataclass(frozen=True)
class Memory:
    """What a participant takes from one round that it is in to the next.

    Attributes:
        control: SCAFFOLD's `c_i`, one array per travelling tensor; `None` is 0.
        residual: What the codec has dropped so far, likewise; `None` is 0.
    """

    control: Arrays | None = None
    residual: Arrays | None = None

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as named arrays, for a file."""
        named: dict[str, NDArray[Any]] = {}
        for prefix, arrays in ((_CONTROL, self.control), (_RESIDUAL, self.residual)):
            named |= {f"{prefix}{index:06d}": array for index, array in enumerate(arrays or [])}
        return named

    @classmethod
    def from_arrays(cls, named: Mapping[str, NDArray[Any]]) -> "Memory":
        """Undo `as_arrays`."""

        def starting_with(prefix: str) -> Arrays | None:
            return [named[name] for name in sorted(named) if name.startswith(prefix)] or None

        return cls(starting_with(_CONTROL), starting_with(_RESIDUAL))
