"""Reading a table from whatever kind of file it is in."""

from pathlib import Path

from fl_app.core.errors import DataError
from fl_app.data.table_files.cells import Table
from fl_app.data.table_files.csv_file import read_csv
from fl_app.data.table_files.parquet_file import read_parquet

_PARQUET = b"PAR1"


def read_table(path: Path) -> Table:
    """Read a CSV or Parquet file; its first bytes say which it is, not its name.

    Raises:
        DataError: If it is not there, or cannot be read; names file, column and row.
    """
    if not path.exists():
        raise DataError(f"{path} is not there")
    if not path.is_file():
        raise DataError(f"{path} is no file; a table is a CSV or a Parquet file")
    try:
        with path.open("rb") as file:
            start = file.read(len(_PARQUET))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return read_parquet(path) if start == _PARQUET else read_csv(path)
