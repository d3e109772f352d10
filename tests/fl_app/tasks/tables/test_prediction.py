"""Rows of a file are predicted by the included tasks on tables."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fl_app.core.errors import DataError
from fl_app.results.saved_model import load_task_model
from fl_app.tasks.registry import build_task, initial_model
from fl_app.tasks.tables.columns import Categorical, Numeric, Ordinal, encode
from fl_app.tasks.tables.heart_disease import HeartDisease
from fl_app.tasks.tables.rows_of_file import read_rows
from scripts.analysis import predict
from scripts.harness.in_process_run import run_app
from tests.fl_app.tasks.presets import preset

COLUMNS = (
    Numeric("age", 50, 10),
    Categorical("sex", ("Female", "Male")),
    Ordinal("grade", ("A", "B", "C")),
    Numeric("income", 1, 2, logarithm=True, complete=True),
)
PATIENT = "age,sex,cp,trestbps,chol,fbs,restecg,thalch,exang,oldpeak,slope,ca,thal"


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_become_what_training_makes_of_them(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "income;name;sex;age;grade",  # in any order, and with others among them
        "0;Ann;female;60,5;a",
        "",
        "3;Bob;NA;?;C",
    )

    inputs, numbers = read_rows(path, COLUMNS)

    expected = encode(
        {
            "age": np.array(["60.5", ""]),
            "sex": np.array(["Female", ""]),
            "grade": np.array(["A", "C"]),
            "income": np.array(["0", "3"]),
        },
        COLUMNS,
    )
    assert torch.equal(inputs, expected)
    assert list(numbers) == [2, 4]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("old,Male,B,1", "column 'age', row 3: 'old' is no number"),
        ("1e999,Male,B,1", "column 'age', row 3: '1e999' is too large for a number"),
        ("50,man,B,1", "row 3: the column sex has 'man'; it may have Female, Male"),
        ("50,Male,D,1", "row 3: the column grade has 'D'; it may have A to C"),
        ("50,Male,,1", "row 3: the column grade has no value; it may have A to C"),
        ("50,Male,B,", "row 3: the column income has no value"),
        ("50,Male,B,-2", "row 3: the column income has -2.0, below 0"),
        ("50,Male,B", "row 3: 3 cells, but 4 columns have a name"),
    ],
)
def test_a_wrong_value_is_told_with_file_column_and_row(tmp_path: Path, row: str, told: str):
    path = written(tmp_path, "age,sex,grade,income", "50,Male,A,1", row)

    with pytest.raises(DataError) as refused:
        read_rows(path, COLUMNS)
    assert str(refused.value).startswith(f"{path}, {told}")


def test_missing_columns_are_told_together_and_one_with_the_nearest_name(tmp_path: Path) -> None:
    path = written(tmp_path, "age,sex,grades,income", "50,Male,A,1")
    with pytest.raises(DataError, match=r"no column 'grade', .* Did you mean 'grades'\?"):
        read_rows(path, COLUMNS)
    path = written(tmp_path, "age,wage", "50,1")
    told = f"{path}: 3 of the 4 columns that the model is given are missing: sex, grade, income"
    with pytest.raises(DataError) as refused:
        read_rows(path, COLUMNS)
    assert str(refused.value) == told


def test_a_line_has_the_likelier_class_and_its_probability(tmp_path: Path) -> None:
    task = HeartDisease()
    model = initial_model(task, seed=0).eval()
    with torch.no_grad():
        model.output.weight.zero_()  # type: ignore[union-attr, operator]
        model.output.weight[0, 0] = 1  # type: ignore[union-attr, operator]
    rest = ",Male,typical angina,145,233,TRUE,normal,150,FALSE,2.3,flat,0,normal"
    path = written(tmp_path, PATIENT, *(f"{age}{rest}" for age in (65, 40, 55)))

    lines = list(task.predict(model, str(path)))

    # Log-odds of 1, -1.5 and 0.
    assert lines == [
        "row 2: heart disease, probability 73.1%",
        "row 3: healthy, probability 81.8%",
        "row 4: healthy, probability 50.0%",
    ]


@pytest.mark.parametrize("name", ["heart-disease", "breast-cancer", "credit"])
def test_each_task_reads_a_file_with_its_columns(tmp_path: Path, name: str) -> None:
    task = build_task(name, {})
    columns = task.columns  # type: ignore[attr-defined]
    cells = {
        Numeric: lambda column: "1",
        Categorical: lambda column: column.categories[-1],
        Ordinal: lambda column: column.grades[0],
    }
    row = ",".join(cells[type(column)](column) for column in columns)
    path = written(tmp_path, ",".join(column.name for column in columns), row)

    (line,) = task.predict(initial_model(task, seed=0).eval(), str(path))

    assert line == f"row 2: {task.label_names[0]}, probability 50.0%"  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_command_predicts_rows_of_the_data_of_a_run(
    run_config, no_pictures, tmp_path, capsys
) -> None:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    config = run_config | {"dataset": "auto", "tensorboard": False} | preset("breast-cancer")
    run = run_app(config | {"num-server-rounds": 2})
    rows = [",".join(map(repr, row.tolist())) for row in data.data]
    path = written(tmp_path, ",".join(data.feature_names), *rows)
    capsys.readouterr()

    assert predict.main([str(run), str(path), str(tmp_path / "none.csv")]) == 1

    out, err = capsys.readouterr()
    lines = out.splitlines()[-len(rows) :]
    named = [line.split(": ")[1].split(",")[0] for line in lines]
    truth = [str(data.target_names[label]) for label in data.target]
    assert np.mean([a == b for a, b in zip(named, truth, strict=True)]) > 0.9
    assert "none.csv is not there" in err
    task, model, _ = load_task_model(run)
    assert list(task.predict(model.eval(), str(path))) == lines
