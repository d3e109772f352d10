"""Parquet files, by way of pyarrow, which is optional."""

import importlib
from pathlib import Path
from typing import Any

from fl_app.core.errors import DataError
from fl_app.data.table_files.cells import Cells, Table, cell, check_names

_READABLE = ("integer", "floating", "decimal", "boolean", "string", "large_string", "null")


def read_parquet(path: Path) -> Table:
    """Read a Parquet file of numbers, texts and true or false.

    Raises:
        DataError: If pyarrow is absent, or the file is damaged, empty, or has a column of another
            kind.
    """
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        types: Any = importlib.import_module("pyarrow.types")
    except ImportError as error:
        raise DataError(
            f"{path} is a Parquet file, and pyarrow is not installed: run scripts/setup.sh tasks"
        ) from error
    try:
        content = parquet.ParquetFile(path).read()
    except (
        OSError,
        ValueError,
        NotImplementedError,
    ) as error:  # pyarrow's own errors are of these kinds
        raise DataError(f"{path} is no readable Parquet file ({type(error).__name__})") from error
    names = [str(name).strip() for name in content.column_names]
    check_names(path, names)
    if not content.num_rows:
        raise DataError(f"{path} has no row")
    columns: dict[str, Cells] = {}
    for name, column in zip(names, content.columns, strict=True):
        kind = column.type.value_type if types.is_dictionary(column.type) else column.type
        if not any(getattr(types, f"is_{readable}")(kind) for readable in _READABLE):
            raise DataError(
                f"{path}, column {name!r}: it holds {kind}; numbers, texts and true or false can "
                "be read: convert it, or leave it out of the file"
            )
        columns[name] = [_as_cell(value) for value in column.to_pylist()]
    return Table(path, columns, range(1, content.num_rows + 1))


def _as_cell(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return cell(str(value))
