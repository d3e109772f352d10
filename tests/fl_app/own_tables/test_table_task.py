"""The network of the task `table`, its loss and its metrics."""

import json

import pytest
import torch
from sklearn.metrics import roc_auc_score

from fl_app.core.errors import ConfigError, UserError
from fl_app.core.metrics import Sum, finished, merge
from fl_app.tasks.checks import check_task
from fl_app.tasks.own_tables.table_task import TableTask
from fl_app.tasks.registry import build_task, initial_model
from fl_app.tasks.tables.scores import AUC, auc_error_bound
from fl_app.tasks.tally import Tally

TWO = "table(target='y', classes='a,b', numeric='t', moments='t:0:1', hidden=4)"
MULTI = "table(target='y', classes='a,b,c', numeric='t', moments='t:0:1', hidden=4, layers=2)"
REGRESSION = "table(target='y', kind='regression', numeric='t', moments='t:0:1,y:100:20')"


@pytest.mark.parametrize(("text", "shape"), [(MULTI, [5, 3]), (REGRESSION, [5])])
def test_its_model_fits_its_examples(text: str, shape: list[int]) -> None:
    task = build_task(text, {})
    model = initial_model(task, seed=1)
    assert list(model(torch.zeros(5, 2)).shape) == shape
    batch = task.sample_batch()
    assert batch is not None
    check_task(task, model, batch)


def test_layers_are_as_wide_and_as_many_as_told() -> None:
    model = initial_model(build_task(MULTI, {}), seed=1)
    assert [list(p.shape) for p in model.parameters() if p.ndim == 2] == [[4, 2], [4, 4], [3, 4]]
    linear = initial_model(build_task(REGRESSION[:-1] + ", layers=0)", {}), seed=1)
    assert [list(p.shape) for p in linear.parameters()] == [[1, 2], [1]]


def test_errors_of_a_regression_are_in_the_unit_of_its_target() -> None:
    task, tally = build_task(REGRESSION, {}), Tally()
    outputs, targets = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.5, 1.0, -1.0])
    for part in (slice(0, 1), slice(1, 3)):  # in any batches
        tally.add(task.measure(outputs[part], (None, targets[part])))
    values = finished(task.metrics, tally.sums())
    assert values["rmse"] == pytest.approx(((10**2 + 20**2) / 3) ** 0.5)
    assert values["mae"] == pytest.approx(10)
    assert float(task.loss(outputs, (None, targets))) == pytest.approx(1.25 / 3)


def test_accuracy_counts_the_rows_that_are_right() -> None:
    task = build_task(MULTI, {})
    outputs = torch.eye(3)
    sums, count = task.measure(outputs, (None, torch.tensor([0, 1, 1])))["accuracy"]
    assert (int(sums), count) == (2, 3)


def test_the_auc_of_two_classes_is_that_of_all_rows_whatever_the_batches() -> None:
    task = build_task(TWO, {})
    generator = torch.Generator().manual_seed(2)
    targets = torch.randint(2, (400,), generator=generator)
    outputs = torch.randn(400, 2, generator=generator)
    outputs[:, 1] += targets
    sums = []
    for part in (slice(0, 7), slice(7, 300), slice(300, 400)):  # the first is one participant's
        tally = Tally()
        tally.add(task.measure(outputs[part], (None, targets[part])))
        sums.append(tally.sums())
    merged = merge(sums)

    found = finished(task.metrics, merged)["auc"]

    exact = roc_auc_score(targets.numpy(), outputs.softmax(1)[:, 1].numpy())
    bound = auc_error_bound(merged["auc"].total)
    assert bound < 0.003
    assert found == pytest.approx(exact, abs=bound + 1e-12)
    assert 0.6 < exact < 0.9
    swapped = task.measure(outputs[:, [1, 0]], (None, 1 - targets))["auc"][0]
    assert AUC.value(Sum(swapped.double().numpy(), 400)) == pytest.approx(exact, abs=2 * bound)


@pytest.mark.parametrize(
    ("text", "names"),
    [(TWO, ["accuracy", "auc"]), (MULTI, ["accuracy"]), (REGRESSION, ["rmse", "mae"])],
)
def test_what_is_measured_in_its_order(text: str, names: list[str]) -> None:
    task = build_task(text, {})
    assert list(task.metrics) == names
    batch = task.sample_batch()
    assert batch is not None
    outputs = initial_model(task, seed=1)(*batch[:-1])
    assert list(task.measure(outputs, batch)) == names


def test_before_all_is_agreed_there_is_no_model() -> None:
    task = TableTask("y", classes="a,b", numeric="t")
    with pytest.raises(ConfigError, match="not been agreed on: means and deviations of t"):
        task.build_model()


def test_a_saved_model_says_how_rows_are_prepared() -> None:
    task = build_task(MULTI, {})
    metadata = task.metadata()
    assert json.loads(metadata["classes"]) == ["a", "b", "c"]
    assert json.loads(metadata["agreement"])["means"] == {"t": 0.0}
    with pytest.raises(UserError, match="does not say how rows"):
        task.restore({})


def test_other_tasks_have_nothing_to_agree_on(run_config: dict[str, object]) -> None:
    from fl_app.core.run_config import RunConfig
    from fl_app.tasks.registry import task_of

    task = task_of(RunConfig.from_run_config(run_config))
    assert task.to_agree() is None
    with pytest.raises(ConfigError, match="asks for no statistics"):
        task.agree(None)  # type: ignore[arg-type]
