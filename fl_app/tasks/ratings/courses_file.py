"""Courses in somebody's file, to predict how they are rated."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl_app.core.errors import DataError
from fl_app.data.table_files.cells import Table
from fl_app.data.table_files.numbers import read_numbers
from fl_app.data.table_files.read import read_table
from fl_app.tasks.ratings.biased_factors import SIDE, side_inputs

_LECTURER = "d"


@dataclass(frozen=True, eq=False)
class Courses:
    """What is known of a course before a student rates it.

    Attributes:
        lecturer: Positions of the lecturers, int64 [N].
        side: Semesters, time since the course and service, one-hot, float32 [N, 12].
        numbers: The number of each row, as a person counts them in the file, [N].
    """

    lecturer: Tensor
    side: Tensor
    numbers: Sequence[int]


def read_courses(path: Path, lecturers: Sequence[int]) -> Courses:
    """Read a CSV or Parquet file with the columns d, studage, lectage and service of InstEval.

    Others in it, such as the student's, are left out.

    Args:
        path: The file; the first row of a CSV file has the names.
        lecturers: Their numbers, by position.

    Raises:
        DataError: If the file cannot be read, a column is missing, or has a value that it may not
            have; names file, column and row.
    """
    table = read_table(path)
    told = f"it may have one of the {len(lecturers)} lecturers' numbers in the data"
    numbers = _whole_numbers(table, _LECTURER, set(lecturers), told)
    position = {number: index for index, number in enumerate(lecturers)}
    columns = {
        name: _whole_numbers(table, name, values, f"it may have {', '.join(map(str, values))}")
        for name, values in SIDE
    }
    positions = torch.tensor([position[number] for number in numbers.tolist()])
    return Courses(positions, side_inputs(columns), table.numbers)


def _whole_numbers(
    table: Table, name: str, allowed: Collection[int], told: str
) -> NDArray[np.int64]:
    values = read_numbers(table, name).values
    for index, value in enumerate(values.tolist()):
        if value not in allowed:
            cell = table.column(name)[index]
            found = "no value" if cell is None else repr(cell)
            raise DataError(f"{table.at(name, index)}: {found}; {told}")
    return values.astype(np.int64)
