"""From columns to inputs."""

import numpy as np
import pytest
import torch

from fl_app.core.errors import DataError
from fl_app.tasks.tables.columns import (
    Categorical,
    CellError,
    Numeric,
    Ordinal,
    encode,
    texts,
    width_of,
)

COLUMNS = (
    Numeric("chol", 240, 50, zero_is_missing=True),
    Categorical("sex", ("Female", "Male")),
    Ordinal("grade", ("A", "B", "C")),
    Numeric("income", 1, 2, logarithm=True, complete=True),
)
TABLE = {
    "chol": np.array(["290", "0", ""]),
    "sex": np.array(["Male", "Female", ""]),
    "grade": np.array(["A", "B", "C"]),
    "income": np.array(["0", str(np.e - 1), str(np.e**3 - 1)]),
}


def test_inputs_are_those_worked_out_by_hand():
    inputs = encode(TABLE, COLUMNS)

    expected = [
        # chol and whether it is missing; Female, Male, missing; grade; income
        [1, 0, 0, 1, 0, -1, -0.5],
        [0, 1, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 1, 1, 1],
    ]
    assert inputs.dtype == torch.float32
    torch.testing.assert_close(inputs, torch.tensor(expected, dtype=torch.float32))
    assert width_of(COLUMNS) == inputs.shape[1]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (COLUMNS[0], "high", "row 1: the column chol has 'high', no number"),
        (COLUMNS[0], "inf", "row 1: the column chol has 'inf', no number"),
        (COLUMNS[1], "male", "row 1: the column sex has 'male'; it may have Female, Male"),
        (COLUMNS[2], "", "row 1: the column grade has no value; it may have A to C"),
        (COLUMNS[3], "-1", "row 1: the column income has -1, below 0"),
        (COLUMNS[3], "", "row 1: the column income has no value"),
    ],
)
def test_a_value_that_a_column_may_not_have_is_told(column, value, told):
    with pytest.raises(DataError, match=told):
        encode({column.name: np.array([value])}, [column])


def test_the_row_of_a_wrong_value_is_the_first():
    with pytest.raises(CellError, match=r"row 3: the column sex has 'x'") as refused:
        encode({"sex": np.array(["Male", "", "x", "y"])}, [COLUMNS[1]])
    assert (refused.value.row, refused.value.told[:14]) == (2, "the column sex")


def test_a_missing_column_is_told():
    with pytest.raises(DataError, match="no column chol"):
        encode({"age": np.array(["1"])}, COLUMNS)


def test_what_is_not_a_number_is_a_missing_text():
    assert texts([1.5, None, float("nan"), "a"]).tolist() == ["1.5", "", "", "a"]
