"""A whole run of a task that the project does not know, named by its file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from fl_app.core.errors import ConfigError
from tests.fl_app.tasks.toy_tasks import SITES
from tests.support.local_run import metrics, run_app, summary_of

FILE = str(Path(__file__).with_name("toy_tasks.py"))


@pytest.fixture
def sites(run_config, no_pictures) -> dict[str, Any]:
    changes = {
        "task": f"{FILE}:Sites",
        "dataset": "auto",
        "partitioner": "natural",
        "num-participants": 3,
        "num-server-rounds": 8,
        "local-epochs": 3,
        "learning-rate": 0.1,
        "tensorboard": False,
    }
    config: dict[str, Any] = run_config | changes
    return config


def test_owners_are_participants_with_names_and_offsets_of_their_own(sites) -> None:
    directory = run_app(sites)

    rows = metrics(directory, "participant")
    assert {row["participant"] for row in rows} == set(SITES)
    last = metrics(directory, "round")[-1]
    # With the wrong offset the error is 10 at least: the server has none, participants their own.
    assert last["federated"]["rmse"] < 0.5
    assert last["central"]["rmse"] > 10
    assert all(row["bytes_up"] < 200 and row["num_examples"] == 30 for row in rows)
    saved = load_file(directory / "model.safetensors")
    np.testing.assert_allclose(saved["shared.weight"], [[1.0, -2.0, 0.5]], atol=0.1)
    assert saved["offset"].tolist() == [0.0]


def test_metrics_are_told_by_their_names_and_lower_is_better(sites, flower_log) -> None:
    directory = run_app(sites | {"monitor": "federated"})

    assert "accuracy" not in flower_log.text
    assert "federated mae " in flower_log.text
    assert summary_of(directory)["model"] is None
    best = summary_of(directory)["best"]
    values = [r["federated"]["mae"] for r in metrics(directory, "round") if r["federated"]]
    assert best["federated mae"] == min(values)
    known = json.loads((directory / "config.json").read_text())["metrics"]
    assert list(known) == ["mae", "rmse", "loss"]
    assert {metric["better"] for metric in known.values()} == {"lower"}


def test_a_target_is_any_metric_of_the_task(sites) -> None:
    directory = run_app(sites | {"monitor": "federated", "target": "rmse=2.0"})

    reports = [row["federated"]["rmse"] for row in metrics(directory, "round") if row["federated"]]
    assert reports[-1] <= 2.0 < min(reports[:-1])
    assert "rmse" in summary_of(directory)["reason"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"best-metric": "accuracy"}, "best-metric names the metric 'accuracy'.*mae, rmse, loss"),
        ({"target": "auc=0.9"}, "target names the metric 'auc'"),
        ({"target": "rmse"}, "not a metric with a number"),
        ({"target-accuracy": 0.9}, "target-accuracy names the metric 'accuracy'"),
        ({"num-participants": 2}, "3: with partitioner = 'natural'.*north, south, east"),
        ({"partitioner": "dirichlet"}, "divides by classes, and this task has none"),
        ({"dataset": "digits"}, "dataset = 'digits' is for another task"),
        ({"dataset": "own"}, "is not for the task Sites"),
        ({"local-parameters": "head.*"}, "fits no parameter.*offset, shared.weight"),
        ({"local-parameters": "shared.*"}, "nothing that is trained is federated"),
        ({"strategy": "FedAvg"}, "could not remember what is local to them"),
        ({"task": f"{FILE}:SiteModel"}, "is no task, it lacks"),
        ({"task": "image-clasification"}, "did you mean image-classification"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_before_round_1(sites, changes, told) -> None:
    with pytest.raises(ConfigError, match=told):
        run_app(sites | changes)


@pytest.mark.parametrize("method", ["load_data", "build_model"])
def test_what_a_task_raises_is_told_in_a_sentence(sites, method) -> None:
    failing = {"task": f"{FILE}:Sites(fails='{method}')"}
    with pytest.raises(ConfigError, match=f"{method} of the task Sites fails: KeyError: 'gone'"):
        run_app(sites | failing)


def test_a_run_that_goes_on_has_the_same_weights_and_offsets_to_the_bit(sites) -> None:
    whole = run_app(sites)
    first = run_app(sites | {"num-server-rounds": 4})

    resumed = run_app(sites | {"resume": str(first)})

    assert summary_of(resumed)["sha256"]["weights"] == summary_of(whole)["sha256"]["weights"]
    last, other = (metrics(d, "round")[-1]["federated"] for d in (resumed, whole))
    assert last == other


def test_without_a_local_part_there_is_one_offset_for_all(sites) -> None:
    directory = run_app(sites | {"task": f"{FILE}:Sites(local=False)"})

    saved = load_file(directory / "model.safetensors")
    assert 15 < float(saved["offset"][0]) < 25
    central, federated = (metrics(directory, "round")[-1][k] for k in ("central", "federated"))
    assert central["rmse"] == pytest.approx(federated["rmse"], rel=1e-5)


@pytest.mark.parametrize("partitioner", ["contiguous", "iid", "linear"])
def test_a_task_without_classes_is_divided_by_what_needs_none(sites, partitioner) -> None:
    directory = run_app(sites | {"partitioner": partitioner, "num-server-rounds": 1})
    counts = [row["num_examples"] for row in metrics(directory, "participant")]
    assert sum(counts) == 90


def test_under_masks_and_with_privacy_it_runs_as_it_is(sites) -> None:
    masked = run_app(sites | {"secure-aggregation": True, "clip-norm": 5.0})
    assert metrics(masked, "round")[-1]["federated"]["rmse"] < 1.0
    private = {"privacy": "central", "clip-norm": 1.0, "noise-multiplier": 0.1}
    rows = metrics(run_app(sites | private), "participant")
    assert all(row["failure"] is None and row["train_metrics"] == {} for row in rows)
