"""Parquet files."""

import sys
from pathlib import Path

import pytest

from fl_app.core.errors import DataError
from fl_app.data.table_files.read import read_table


def test_numbers_texts_and_missing_values_are_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow writes the Parquet file to read")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "north"  # its content says what it is
    columns = {
        "age": pa.array([54, None]),
        "weight": pa.array([70.5, 80.0]),
        "sex": pa.array(["m", "f"]).dictionary_encode(),
        "ill": pa.array([True, False]),
    }
    parquet.write_table(pa.table(columns), path)
    table = read_table(path)
    assert table.columns["age"] == ["54", None]
    assert table.columns["weight"] == ["70.5", "80"]
    assert table.columns["sex"] == ["m", "f"]
    assert table.columns["ill"] == ["True", "False"]
    assert table.at("age", 1).endswith("row 2")


def test_columns_of_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow writes the Parquet file to read")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "north.parquet"
    parquet.write_table(pa.table({"seen": pa.array([0], pa.timestamp("s"))}), path)
    with pytest.raises(DataError, match="column 'seen': it holds timestamp"):
        read_table(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow finds the damage")
    path = tmp_path / "north.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="no readable Parquet file"):
        read_table(path)


def test_without_pyarrow_the_command_that_brings_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "north.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"scripts/setup\.sh tasks"):
        read_table(path)
