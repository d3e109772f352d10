"""From cells to a model's inputs, and rows with their targets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_app.core.errors import DataError
from fl_app.data.local_data import OwnSource
from fl_app.tasks.own_tables.encoding import encode_rows, width
from fl_app.tasks.own_tables.options import read_options
from fl_app.tasks.own_tables.rows import divide, labelled_rows
from fl_app.tasks.own_tables.table_agreement import TableAgreement
from fl_app.tasks.own_tables.table_task import TableTask
from tests.fl_app.own_tables.hospitals import rows_of, write
from tests.fl_app.own_tables.test_exchanges import table, task_for

AGREED = TableAgreement(("t",), ("c",), {"t": 10.0}, {"t": 2.0}, {"c": ("a", "b")})


def test_numbers_are_standardised_and_missing_ones_marked() -> None:
    task = task_for(numeric="t", categorical="c")
    rows = table(t=[12, None, 10], c=["a", "?b", None])
    encoded = encode_rows(rows, AGREED, task.options)
    assert encoded.inputs.tolist() == [
        [1, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    assert encoded.inputs.dtype == np.float32
    assert width(AGREED, task.options) == 6
    (remark,) = encoded.remarks
    assert "1 of 3 rows have a category that was not agreed on" in remark


def test_categories_in_buckets_are_the_same_everywhere() -> None:
    task = task_for(categorical="c", buckets=4)
    first = encode_rows(table(c=["x", "y", None]), task._agreement, task.options).inputs
    second = encode_rows(table(c=["y", "x"]), task._agreement, task.options).inputs
    assert first.shape == (3, 5)
    assert first[2].tolist() == [0, 0, 0, 0, 1]
    assert (first[:2] == second[::-1]).all()


def test_a_column_too_many_is_remarked_and_one_too_few_refused() -> None:
    task = task_for(numeric="t", categorical="c", ignore="id")
    rows = table(t=[1], c=["a"], id=[7], ill=["no"], weight=[70])
    (remark,) = encode_rows(rows, AGREED, task.options).remarks
    assert remark.endswith("not used, since they were not agreed on: weight")
    with pytest.raises(DataError, match=r"north\.csv: there is no column 'c'"):
        encode_rows(table(t=[1]), AGREED, task.options)


def test_rows_without_a_target_are_left_out_with_a_remark() -> None:
    rows = labelled_rows(table(ill=["no", None, "yes"]), task_for().options)
    assert rows.rows.tolist() == [0, 2]
    assert rows.targets.tolist() == [0, 1]
    assert "1 of 3 rows have no value" in rows.remarks[0]


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["no", "Yess"], "column 'ill', row 3: 'Yess' is not an agreed class. Did you mean 'yes'?"),
        ([None, None], "column 'ill': no row has a value"),
    ],
)
def test_a_target_of_no_use_is_refused(cells: list[str | None], told: str) -> None:
    with pytest.raises(DataError) as caught:
        labelled_rows(table(ill=cells), task_for().options)
    assert told in str(caught.value)


def test_a_single_class_is_remarked() -> None:
    rows = labelled_rows(table(ill=["no"] * 3), task_for().options)
    assert "all rows have the same value" in rows.remarks[0]


def test_a_target_that_is_no_number_is_refused_in_a_regression() -> None:
    options = read_options("ill", "regression", "", "", "t", "", "", "", "", 0)
    with pytest.raises(DataError, match="column 'ill', row 3: 'x' is no number"):
        labelled_rows(table(ill=[1, "x"]), options)


def test_the_same_rows_are_held_out_whatever_the_order_of_columns() -> None:
    options = task_for().options
    columns: dict[str, Any] = {"t": range(40), "ill": ["no", "yes"] * 20}
    first = labelled_rows(table(**columns), options)
    second = labelled_rows(table(**dict(reversed(columns.items()))), options)
    train, test = divide(first, 0.25, 0, "north")
    assert len(test) == 10
    assert sorted([*train, *test]) == list(range(40))
    assert first.targets[test].sum() == 5  # of each class a share
    assert (divide(second, 0.25, 0, "north")[1] == test).all()


def test_test_data_of_its_own_is_taken_whole(tmp_path: Path) -> None:
    columns = ["age", "sex", "ill"]
    data = write(tmp_path / "a.csv", rows_of("north"), columns)
    test = write(tmp_path / "b.csv", rows_of("south", 7), columns)
    told = "age:50:12"
    task = TableTask("ill", classes="no,yes", numeric="age", moments=told)
    local = task.load_own_data(OwnSource(data, test, 0.2, 0, "north"))
    assert (len(local.train), len(local.test)) == (60, 7)
    whole = task.load_own_data(OwnSource(data, None, 0.0, 0, "evaluation"))
    assert (len(whole.train), len(whole.test)) == (60, 0)
    with pytest.raises(DataError, match="both the data and the test data"):
        task.load_own_data(OwnSource(data, data, 0.2, 0, "north"))
