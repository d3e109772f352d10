"""Numbers in the cells of a column, whichever way they are written."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl_app.core.errors import DataError
from fl_app.data.table_files.cells import Cells, Table

_WAYS = {
    # What separates thousands, what decimals, and the pattern of a number.
    "plain": ("", ".", re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")),
    "with decimal commas": (
        ".",
        ",",
        re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d*)(,\d+)?([eE][+-]?\d+)?(?<=\d)"),
    ),
    "with commas between thousands": (
        ",",
        ".",
        re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?"),
    ),
}

_PLAIN_LETTERS = frozenset("0123456789+-.eE")


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of numbers.

    Attributes:
        values: float64 [N], NaN where the value is missing.
        way: How they are written: "plain", or something that its owner should know.
    """

    values: NDArray[np.float64]
    way: str = "plain"


def read_numbers(table: Table, name: str) -> Numbers:
    """Read a column's cells as numbers, all in one way of writing them.

    Raises:
        DataError: If one is no number, or it cannot be known whether commas stand before decimals
            or between thousands; names file, column and row.
    """
    cells = table.column(name)
    present = [cell for cell in cells if cell is not None]
    fitting = _fitting(present)
    if not fitting:
        index = _first_misfit(cells)
        raise DataError(f"{table.at(name, index)}: {cells[index]!r} is no number")
    if "plain" not in fitting and len(fitting) > 1:
        index = next(i for i, cell in enumerate(cells) if cell is not None and "," in cell)
        raise DataError(
            f"{table.at(name, index)}: {cells[index]!r} may have a decimal comma or one between "
            "thousands, and no other row tells which; write the column's numbers without commas"
        )
    way = fitting[0]
    thousands, decimal, _ = _WAYS[way]
    values = np.array([_value(cell, thousands, decimal) for cell in cells], np.float64)
    beyond = np.flatnonzero(np.isinf(values))
    if len(beyond):
        index = int(beyond[0])
        raise DataError(f"{table.at(name, index)}: {cells[index]!r} is too large for a number")
    return Numbers(values, way)


def are_numbers(cells: Cells) -> bool:
    """Tell whether a column's cells are numbers, with at least one among them."""
    present: Sequence[str] = [cell for cell in cells if cell is not None]
    return bool(present) and bool(_fitting(present))


def _fitting(present: Sequence[str]) -> list[str]:
    """Return the ways in which all cells can be read; only the plain one where that is sure."""
    if set("".join(present)) <= _PLAIN_LETTERS:  # patterns take many times as long
        with suppress(ValueError):
            for cell in present:
                float(cell)
            return ["plain"]
    return [way for way in _WAYS if all(map(_WAYS[way][2].fullmatch, present))]


def _value(cell: str | None, thousands: str, decimal: str) -> float:
    if cell is None:
        return math.nan
    return float(cell.replace(thousands, "").replace(decimal, ".") if thousands else cell)


def _first_misfit(cells: Cells) -> int:
    """Return the first cell that no way reads, or that the way of those before it does not."""
    left = set(_WAYS)
    for index, cell in enumerate(cells):
        if cell is None:
            continue
        left = {way for way in left if _WAYS[way][2].fullmatch(cell)}
        if not left:
            return index
    raise AssertionError("every cell fits a way of writing numbers")
