"""Rows of somebody's file as inputs of a model whose columns are described beforehand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fl_app.core.errors import DataError
from fl_app.data.table_files.cells import Table as FileTable
from fl_app.data.table_files.numbers import read_numbers
from fl_app.data.table_files.read import read_table
from fl_app.tasks.tables.columns import CellError, Column, Numeric, Ordinal, encode


def read_rows(path: Path, columns: Sequence[Column]) -> tuple[Tensor, Sequence[int]]:
    """Read a CSV or Parquet file with the columns of a data set; others in it are left out.

    Empty cells and words such as NA are missing values. Whether letters are large or small makes no
    difference to a category.

    Args:
        path: The file; the first row of a CSV file has the names.
        columns: What the model is given.

    Returns:
        Inputs, float32 [N, W]; and the number of each row, as a person counts them in the file.

    Raises:
        DataError: If the file cannot be read, a column is missing, or has a value that it may not
            have; names file, column and row.
    """
    table = read_table(path)
    if absent := [column.name for column in columns if column.name not in table.columns]:
        if len(absent) == 1:
            table.column(absent[0])  # says which is the nearest
        raise DataError(
            f"{path}: {len(absent)} of the {len(columns)} columns that the model is given are "
            f"missing: {', '.join(absent)}"
        )
    try:
        return encode({c.name: _texts(table, c) for c in columns}, columns), table.numbers
    except CellError as error:
        raise DataError(f"{path}, row {table.numbers[error.row]}: {error.told}") from error


def _texts(table: FileTable, column: Column) -> NDArray[np.str_]:
    """Return a column as the descriptions take it: "" where a value is missing."""
    if isinstance(column, Numeric):
        values = read_numbers(table, column.name).values.tolist()
        return np.array(["" if value != value else f"{value!r}" for value in values], np.str_)
    allowed = column.grades if isinstance(column, Ordinal) else column.categories
    by_fold = {text.casefold(): text for text in allowed}
    cells = [cell or "" for cell in table.column(column.name)]
    return np.array([by_fold.get(cell.casefold(), cell) for cell in cells], np.str_)
