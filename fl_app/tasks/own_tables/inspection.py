"""What a person should know of a table before it joins a run; nothing of it is sent anywhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_app.data.table_files.cells import Table
from fl_app.data.table_files.numbers import are_numbers, read_numbers
from fl_app.data.table_files.read import read_table
from fl_app.tasks.own_tables.encoding import encode_rows
from fl_app.tasks.own_tables.exchanges import answer, question
from fl_app.tasks.own_tables.options import REGRESSION, TableOptions
from fl_app.tasks.own_tables.rows import labelled_rows
from fl_app.tasks.own_tables.table_agreement import TableAgreement


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        rows: How many rows have a target.
        columns: A line for each column: its name, what it holds, and the share that is missing.
        targets: The classes with their numbers of rows, or the range of a number.
        remarks: What may not be as it was meant, in sentences.
    """

    rows: int
    columns: tuple[str, ...]
    targets: str
    remarks: tuple[str, ...]


def inspect_table(path: Path, options: TableOptions) -> Inspection:
    """Read a table as a run would, and say what it holds.

    Raises:
        DataError: If a run would refuse it; names file, column and row.
    """
    table = read_table(path)
    data = labelled_rows(table, options)
    agreement = TableAgreement.told_by(options)
    for name in agreement.numeric or ():
        read_numbers(table, name)
    for name in agreement.categorical or ():
        table.column(name)
    remarks = list(data.remarks)
    if question(agreement, options) is None:
        remarks += encode_rows(table, agreement, options).remarks
    else:
        answer(table, data.rows, agreement, options)  # refuses what a run would refuse
    columns = tuple(
        f"{name}: {_kind(table, name, agreement, options)}, {_missing(table, name):.0%} missing"
        for name in table.columns
    )
    remarks += [
        f"{path}, column {name!r}: every value is missing"
        for name in table.columns
        if _missing(table, name) == 1
    ]
    return Inspection(len(data.rows), columns, _targets(data.targets, options), tuple(remarks))


def _kind(table: Table, name: str, agreement: TableAgreement, options: TableOptions) -> str:
    if name == options.target:
        return "the target"
    if name in options.ignore:
        return "ignored"
    if agreement.numeric is None:
        return "numbers" if are_numbers(table.columns[name]) else "categories"
    if name in agreement.numeric:
        return "numbers"
    if name in (agreement.categorical or ()):
        return "categories"
    return "not named by the task, so not used"


def _missing(table: Table, name: str) -> float:
    cells = table.columns[name]
    return sum(cell is None for cell in cells) / len(cells)


def _targets(targets: NDArray[Any], options: TableOptions) -> str:
    if options.kind == REGRESSION:
        return f"{options.target} from {targets.min():g} to {targets.max():g}"
    counts = np.bincount(targets, minlength=len(options.classes))
    return ", ".join(f"{n} {count}" for n, count in zip(options.classes, counts, strict=True))
