"""From the columns of a table to the inputs of a model, by constants that are fixed beforehand.

Nothing is computed from the data: centres, scales and categories are agreed upon before anybody
looks at it, as hospitals would agree on usual clinical ranges.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl_app.core.errors import DataError

Table = Mapping[str, NDArray[np.str_]]
"""Columns by name, all of the same length N, as texts; an empty text is a missing value."""


class CellError(DataError):
    """A value that a column may not have.

    Attributes:
        row: Which row it is in, from 0.
        told: What it is and what would be right, naming the column.
    """

    def __init__(self, row: int | np.intp, told: str) -> None:
        """Set up; rows are counted from 1 where a person reads them."""
        super().__init__(f"row {row + 1}: {told}")
        self.row, self.told = int(row), told


@dataclass(frozen=True)
class Numeric:
    """A column of numbers, which becomes the scaled value, and whether it is missing.

    A missing value becomes 0, that of the centre.

    Attributes:
        name: Of the column.
        centre: Subtracted, after the logarithm if there is one.
        scale: Divided by after that.
        logarithm: Whether log(1 + value) is taken first; the value must not be negative.
        zero_is_missing: Whether a 0 stands for a missing value.
        complete: Whether no value is ever missing; then there is no input that says so.
    """

    name: str
    centre: float
    scale: float
    logarithm: bool = False
    zero_is_missing: bool = False
    complete: bool = False

    @property
    def width(self) -> int:
        """The number of inputs."""
        return 1 if self.complete else 2

    def encode(self, texts: NDArray[np.str_]) -> NDArray[np.float64]:
        """Return the inputs, [N, 1 or 2].

        Raises:
            CellError: If a text is no number, negative where the logarithm is taken, or missing
                where none may be.
        """
        missing = texts == ""
        values = np.array([_number(text) for text in texts.tolist()], np.float64)
        if (strange := ~(missing | np.isfinite(values))).any():
            row = strange.argmax()
            raise CellError(row, f"the column {self.name} has {str(texts[row])!r}, no number")
        if self.zero_is_missing:
            missing = missing | (values == 0)
        if self.logarithm:
            if (negative := values < 0).any():
                row = negative.argmax()
                raise CellError(row, f"the column {self.name} has {texts[row]}, below 0")
            values = np.log1p(values)
        scaled = (values - self.centre) / self.scale
        if not self.complete:
            return np.stack([np.where(missing, 0.0, scaled), missing], axis=1)
        if missing.any():
            raise CellError(missing.argmax(), f"the column {self.name} has no value")
        return scaled[:, None]


@dataclass(frozen=True)
class Categorical:
    """A column of categories, which becomes an input for each, and one for a missing value.

    Attributes:
        name: Of the column.
        categories: All that there are.
    """

    name: str
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        """The number of inputs."""
        return len(self.categories) + 1

    def encode(self, texts: NDArray[np.str_]) -> NDArray[np.float64]:
        """Return the inputs, [N, categories + 1].

        Raises:
            CellError: If a text is not one of the categories.
        """
        _refuse_others(self.name, texts, (*self.categories, ""), ", ".join(self.categories))
        return np.stack([texts == value for value in (*self.categories, "")], axis=1).astype(float)


@dataclass(frozen=True)
class Ordinal:
    """A column of ordered grades, which becomes one input from -1 for the first to 1 for the last.

    Attributes:
        name: Of the column.
        grades: All that there are, in order; two at least.
    """

    name: str
    grades: tuple[str, ...]

    @property
    def width(self) -> int:
        """The number of inputs."""
        return 1

    def encode(self, texts: NDArray[np.str_]) -> NDArray[np.float64]:
        """Return the inputs, [N, 1].

        Raises:
            CellError: If a text is not one of the grades.
        """
        position = {grade: index for index, grade in enumerate(self.grades)}
        _refuse_others(self.name, texts, self.grades, f"{self.grades[0]} to {self.grades[-1]}")
        places = np.array([position[text] for text in texts.tolist()], np.float64)
        return (2 * places / (len(self.grades) - 1) - 1)[:, None]


Column = Numeric | Categorical | Ordinal


def _number(text: str) -> float:
    """Return a text's number; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _refuse_others(name: str, texts: NDArray[np.str_], allowed: Sequence[str], told: str) -> None:
    """Refuse a text that is not among those allowed, of which `told` says which they are."""
    if (unknown := ~np.isin(texts, allowed)).any():
        row = unknown.argmax()
        what = f"has {str(texts[row])!r}" if texts[row] else "has no value"
        raise CellError(row, f"the column {name} {what}; it may have {told}")


def width_of(columns: Sequence[Column]) -> int:
    """Return how many inputs columns become."""
    return sum(column.width for column in columns)


def encode(table: Table, columns: Sequence[Column]) -> Tensor:
    """Return the inputs of a model, float32 [N, inputs].

    Raises:
        DataError: If a column is not there.
        CellError: If one has a value that it may not have.
    """
    for column in columns:
        if column.name not in table:
            raise DataError(f"the data has no column {column.name}")
    parts = [column.encode(table[column.name]) for column in columns]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))


def texts(values: Iterable[object]) -> NDArray[np.str_]:
    """Return values as a column of texts; what is `None` or NaN is missing."""
    return np.array(["" if v is None or v != v else str(v) for v in values], np.str_)


def rows_of(
    table: Table, keep: NDArray[np.bool_] | NDArray[np.int64]
) -> dict[str, NDArray[np.str_]]:
    """Return some rows of a table."""
    return {name: column[keep] for name, column in table.items()}
