"""CSV files: what is read, and what is refused by file, column and row."""

from pathlib import Path

import pytest

from fl_app.core.errors import DataError
from fl_app.data.table_files.read import read_table


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "north.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_cells_are_separated_by_what_the_names_are(tmp_path: Path, separator: str) -> None:
    text = "age,sex\n54, m \n?,f\n".replace(",", separator)
    table = read_table(written(tmp_path, text))
    assert table.columns == {"age": ["54", None], "sex": ["m", "f"]}
    assert list(table.numbers) == [2, 3]


def test_a_byte_order_mark_and_quoted_line_ends_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, b'\xef\xbb\xbfage,note\r\n54,"two\r\nlines"\r\n55,NA\r\n')
    assert read_table(path).columns == {"age": ["54", "55"], "note": ["two\r\nlines", None]}


def test_empty_lines_are_left_out_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "age,sex\n54,m\n\n55,f\n\n"))
    assert table.columns["age"] == ["54", "55"]
    assert table.at("age", 1).endswith("north.csv, column 'age', row 4")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("age,sex\n", "no row below"),
        ("age,sex\n54,m\n55\n", "row 3: 1 cells, but 2 columns"),
        ("age,sex\n54,m,x\n", "row 2: 3 cells"),
        ("age,age\n1,2\n", "two columns are called 'age'"),
        ("age,\n1,2\n", "column 2 has no name"),
        ("54,m\n55,f\n", "column 1 is called '54', which is a number"),
        ('age,sex\n54,"m\n', "no readable CSV"),
        ("age,sex\n54,m\n55,Jos\u00e9\n".encode("latin-1"), "row 3: not in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_row(
    tmp_path: Path, content: str | bytes, told: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="is not there"):
        read_table(tmp_path / "absent.csv")


def test_a_missing_column_is_told_with_the_nearest(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "age,sexe\n54,m\n"))
    with pytest.raises(DataError, match=r"no column 'sex', which was agreed.*mean 'sexe'"):
        table.column("sex")
