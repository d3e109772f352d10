"""A table as it was read: columns of cells that are texts, and where each row stands."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fl_app.core.errors import DataError

Cells = Sequence[str | None]
"""One column: a text without blanks at its ends, or `None` where the value is missing."""

_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "null", "?"})
_LONGEST = max(map(len, _MISSING))


@dataclass(frozen=True)
class Table:
    """Rows and columns of a file.

    Attributes:
        path: The file.
        columns: The cells by the column's name, in the file's order; all of one length N.
        numbers: The number of each row [N], as a person counts them in the file: in a CSV file the
            line of names is row 1.
    """

    path: Path
    columns: Mapping[str, Cells]
    numbers: Sequence[int]

    def __len__(self) -> int:
        """The number of rows N."""
        return len(self.numbers)

    def column(self, name: str) -> Cells:
        """Return a column.

        Raises:
            DataError: If there is none of that name.
        """
        if name in self.columns:
            return self.columns[name]
        near = difflib.get_close_matches(name, self.columns, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(
            f"{self.path}: there is no column {name!r}, which was agreed on.{hint} "
            f"It has {', '.join(self.columns)}"
        )

    def at(self, name: str, index: int) -> str:
        """Say where a cell stands: file, column and row."""
        return f"{self.path}, column {name!r}, row {self.numbers[index]}"


def cell(text: str) -> str | None:
    """Return a cell without blanks at its ends; `None` for the words that mean a missing value."""
    stripped = text.strip()
    return None if len(stripped) <= _LONGEST and stripped.casefold() in _MISSING else stripped


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse names of columns that are empty, come twice, or look like data.

    Raises:
        DataError: Says which.
    """
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            raise DataError(f"{path}: column {number} has no name in the first row")
        if name in seen:
            raise DataError(f"{path}: two columns are called {name!r}; give each a name of its own")
        if _is_number(name):
            raise DataError(
                f"{path}: column {number} is called {name!r}, which is a number; the first row has "
                "to hold the columns' names"
            )
        seen.add(name)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
