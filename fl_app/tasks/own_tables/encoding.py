"""From the cells of a table to the inputs of a model, in the way that was agreed on."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl_app.data.table_files.cells import Cells, Table
from fl_app.data.table_files.numbers import read_numbers
from fl_app.tasks.own_tables.options import TableOptions, canonical
from fl_app.tasks.own_tables.table_agreement import TableAgreement

_COLUMNS_NAMED = 10


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """Inputs of a model.

    Attributes:
        inputs: float32 [N, W]. A column of numbers gives two: the number, less the mean and divided
            by the deviation, 0 where it is missing; and 1 where it is missing, else 0. A column of
            k categories gives k + 2 of which one is 1: a category, another one, or missing.
        remarks: What whoever owns the table should know, in sentences.
    """

    inputs: NDArray[np.float32]
    remarks: tuple[str, ...]


def width(agreement: TableAgreement, options: TableOptions) -> int:
    """Return the number of inputs W."""
    slots = (_num_slots(name, agreement, options) for name in agreement.categorical or ())
    return 2 * len(agreement.numeric or ()) + sum(slots)


def encode_rows(table: Table, agreement: TableAgreement, options: TableOptions) -> EncodedRows:
    """Make the inputs of every row of a table; columns that are not agreed on are left out.

    Raises:
        DataError: If a column is missing, or a number is none.
    """
    pieces: list[NDArray[np.float32]] = []
    remarks = []
    for name in agreement.numeric or ():
        numbers = read_numbers(table, name)
        if numbers.way != "plain":
            remarks.append(f"{table.path}, column {name!r}: numbers are read {numbers.way}")
        missing = np.isnan(numbers.values)
        scaled = (numbers.values - agreement.means[name]) / agreement.deviations[name]
        scaled[missing] = 0.0
        pieces.append(np.stack([scaled, missing], axis=1).astype(np.float32))
    for name in agreement.categorical or ():
        slots = _num_slots(name, agreement, options)
        chosen = _slots_of(table.column(name), name, agreement, options)
        pieces.append(np.eye(slots, dtype=np.float32)[chosen])
        if name in agreement.categories and (others := int((chosen == slots - 2).sum())):
            remarks.append(
                f"{table.path}, column {name!r}: {others} of {len(table)} rows have a category "
                "that was not agreed on; it counts as another one"
            )
    used = {*(agreement.numeric or ()), *(agreement.categorical or ())}
    extra = [c for c in table.columns if c not in used | {options.target, *options.ignore}]
    if extra:
        shown = ", ".join(extra[:_COLUMNS_NAMED]) + ", ..." * (len(extra) > _COLUMNS_NAMED)
        remarks.append(f"{table.path}: not used, since they were not agreed on: {shown}")
    return EncodedRows(np.concatenate(pieces, axis=1), tuple(remarks))


def _num_slots(name: str, agreement: TableAgreement, options: TableOptions) -> int:
    known = agreement.categories.get(name)
    return options.buckets + 1 if known is None else len(known) + 2


def _slots_of(
    cells: Cells, name: str, agreement: TableAgreement, options: TableOptions
) -> NDArray[np.int64]:
    """Return which slot each cell fills, [N]; the last is that of missing values."""
    known, last = agreement.categories.get(name), _num_slots(name, agreement, options) - 1
    position = {} if known is None else {category: i for i, category in enumerate(known)}

    def slot(cell: str | None) -> int:
        if cell is None:
            return last
        if known is None:
            return _bucket(name, canonical(cell), options.buckets)
        return position.get(canonical(cell), last - 1)

    return np.array([slot(cell) for cell in cells], np.int64)


def _bucket(name: str, category: str, buckets: int) -> int:
    digest = hashlib.blake2b(f"{name}/{category}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets
