"""Numbers in the cells of a column, however they are written."""

from pathlib import Path

import numpy as np
import pytest

from fl_app.core.errors import DataError
from fl_app.data.table_files.cells import Table
from fl_app.data.table_files.numbers import are_numbers, read_numbers


def column(*cells: str | None) -> Table:
    return Table(Path("north.csv"), {"price": cells}, range(2, 2 + len(cells)))


@pytest.mark.parametrize(
    ("cells", "values", "way"),
    [
        (["1", "-2.5", "+3e2", ".5", "6."], [1, -2.5, 300, 0.5, 6], "plain"),
        (["1,5", "2", "1.234,5", "2.500"], [1.5, 2, 1234.5, 2500], "with decimal commas"),
        (
            ["1,234.5", "2", "1,234,567"],
            [1234.5, 2, 1234567],
            "with commas between thousands",
        ),
        (["1,234", "2,5"], [1.234, 2.5], "with decimal commas"),
        (["1.234.567", "2.000"], [1234567, 2000], "with decimal commas"),
    ],
)
def test_a_column_is_read_in_one_way(cells: list[str], values: list[float], way: str) -> None:
    numbers = read_numbers(column(*cells), "price")
    assert numbers.values.tolist() == values
    assert numbers.way == way


def test_a_missing_value_is_nan() -> None:
    values = read_numbers(column("1", None), "price").values
    assert np.isnan(values).tolist() == [False, True]
    assert np.isnan(read_numbers(column(None), "price").values).all()


@pytest.mark.parametrize(
    ("cells", "row", "told"),
    [
        (["1", "many"], 3, "'many' is no number"),
        (["1.5", "2,25"], 3, "'2,25' is no number"),
        (["1", "inf"], 3, "'inf' is no number"),
        (["1e999"], 2, "too large"),
        (["2", "1,234"], 3, "a decimal comma or one between thousands"),
    ],
)
def test_what_is_no_number_is_told_with_file_column_and_row(
    cells: list[str], row: int, told: str
) -> None:
    with pytest.raises(DataError, match=f"north.csv, column 'price', row {row}: .*{told}"):
        read_numbers(column(*cells), "price")


def test_a_column_without_values_is_not_one_of_numbers() -> None:
    assert are_numbers(["1", None])
    assert not are_numbers([None])
    assert not are_numbers(["1", "a"])
