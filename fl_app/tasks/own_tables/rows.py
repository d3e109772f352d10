"""The rows of a table that can be learned from, and those held out for evaluation."""

import difflib
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl_app.core.errors import DataError
from fl_app.data.local_files.split import hold_out
from fl_app.data.table_files.cells import Table
from fl_app.data.table_files.numbers import read_numbers
from fl_app.tasks.own_tables.options import REGRESSION, TableOptions, canonical

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows whose target is known.

    Attributes:
        table: The whole table.
        rows: int64 [M], which rows of it.
        targets: Their labels, int64 [M], or for a regression numbers, float64 [M].
        remarks: What whoever owns the table should know, in sentences.
    """

    table: Table
    rows: IntArray
    targets: NDArray[np.int64] | NDArray[np.float64]
    remarks: tuple[str, ...]


def labelled_rows(table: Table, options: TableOptions) -> LabelledRows:
    """Read the target of every row, and leave out the rows without one.

    Raises:
        DataError: If there is no such column, a class is not agreed on, a number is none, or no row
            is left.
    """
    if options.kind == REGRESSION:
        numbers = read_numbers(table, options.target).values
        rows = np.flatnonzero(~np.isnan(numbers))
        targets: NDArray[np.int64] | NDArray[np.float64] = numbers[rows]
    else:
        labels = _labels(table, options)
        rows = np.flatnonzero(labels >= 0)
        targets = labels[rows]
    if not len(rows):
        raise DataError(f"{table.path}, column {options.target!r}: no row has a value")
    remarks = []
    if missing := len(table) - len(rows):
        remarks.append(
            f"{table.path}, column {options.target!r}: {missing} of {len(table)} rows have no "
            "value and are left out"
        )
    if len(np.unique(targets)) == 1:
        remarks.append(
            f"{table.path}, column {options.target!r}: all rows have the same value; there is "
            "nothing to tell apart here"
        )
    return LabelledRows(table, rows.astype(np.int64), targets, tuple(remarks))


def divide(data: LabelledRows, fraction: float, seed: int, participant: str) -> list[IntArray]:
    """Hold rows out for evaluation, of each class a share; see `hold_out`.

    A row's place is decided by its cells, whatever the order of rows and columns.

    Returns:
        Positions in `data.rows`: those to train on, and those held out.

    Raises:
        DataError: If there are too few rows.
    """
    labels = data.targets if data.targets.dtype == np.int64 else np.zeros(len(data.rows))
    digests = _digests(data.table)[data.rows]
    return list(hold_out(digests, labels.astype(np.int64), fraction, seed, participant))


def _labels(table: Table, options: TableOptions) -> IntArray:
    """Return the label of each row, [N]; -1 where it is missing."""
    label_of = {name: label for label, name in enumerate(options.classes)}
    labels = np.full(len(table), -1, np.int64)
    for index, cell in enumerate(table.column(options.target)):
        if cell is None:
            continue
        label = label_of.get(canonical(cell))
        if label is None:
            near = difflib.get_close_matches(cell.casefold(), label_of, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"{table.at(options.target, index)}: {cell!r} is not an agreed class.{hint} The "
                f"agreed classes are: {', '.join(options.classes)}"
            )
        labels[index] = label
    return labels


def _digests(table: Table) -> NDArray[np.uint8]:
    """Return a digest of each row, [N, 16], that does not depend on the order of columns."""
    names = sorted(table.columns)
    key = hashlib.sha256(repr(names).encode()).digest()
    digests = [
        hashlib.blake2b("\0".join(row).encode(), key=key, digest_size=16).digest()
        for row in zip(*([c or "" for c in table.columns[name]] for name in names), strict=True)
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)
