"""CSV files: text with a line of names, then a line for each row."""

import csv
import io
from pathlib import Path

from fl_app.core.errors import DataError
from fl_app.data.table_files.cells import Table, cell, check_names

_SEPARATORS = ",;\t|"
_LARGEST_CELL = 1 << 20


def read_csv(path: Path) -> Table:
    """Read a CSV file in UTF-8, with or without a byte order mark.

    Cells are separated by what the line of names has most of: comma, semicolon, tab or "|". Lines
    with nothing in them are left out.

    Raises:
        DataError: If it is empty, not in UTF-8, or a row has more or fewer cells than names.
    """
    text = _text(path)
    if not text.strip():
        raise DataError(f"{path} is empty")
    first_line = text.lstrip().splitlines()[0]
    separator = max(_SEPARATORS, key=first_line.count)
    csv.field_size_limit(_LARGEST_CELL)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    kept: list[list[str]] = []
    numbers: list[int] = []
    try:
        for number, row in enumerate(rows, 1):
            if len(row) > 1 or any(map(str.strip, row)):
                kept.append(row)
                numbers.append(number)
    except csv.Error as error:
        at = numbers[-1] + 1 if numbers else 1
        raise DataError(f"{path}, row {at}: no readable CSV: {error}") from error
    names = [name.strip() for name in kept[0]]
    check_names(path, names)
    for number, row in zip(numbers, kept, strict=True):
        if len(row) != len(names):
            raise DataError(
                f"{path}, row {number}: {len(row)} cells, but {len(names)} columns have a name; "
                f"cells are separated by {separator!r} here"
            )
    data = kept[1:]
    if not data:
        raise DataError(f"{path} has names of columns and no row below them")
    columns = {
        name: [cell(text) for text in cells]
        for name, cells in zip(names, zip(*data, strict=True), strict=True)
    }
    return Table(path, columns, numbers[1:])


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, row {row}: not in UTF-8 (byte {error.start}); save the file as UTF-8"
        ) from error
