import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from fl_app.data.datasets import load_dataset
from fl_app.results.digests import weights_digest
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.model.federated_model import model_spec
from fl_app.tasks.model.parameters import get_weights, set_weights
from fl_app.tasks.registry import MODELS, build_model
from fl_app.training.local.local_training import evaluate
from scripts.repository import default_run_config
from tests.support.linear_model import Linear
from tests.support.local_run import digest, metrics, run_app, summary_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Iterator[tuple[dict[str, Any], Path]]:
    """One run with everything that a run writes, and its config."""
    folder = tmp_path_factory.mktemp("finished")
    config = default_run_config() | {
        "num-server-rounds": 2,
        "num-participants": 3,
        "local-epochs": 1,
        "dataset": "digits",
        "model": "linear",
        "data-dir": str(folder / "data"),
        "output-dir": str(folder / "results"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "linear", Linear)
        yield config, run_app(config)


def test_a_run_leaves_its_files_and_nothing_half_written(finished):
    _, directory = finished

    names = {path.name for path in directory.iterdir()}
    assert names >= {
        "config.json",
        "metrics.jsonl",
        "summary.json",
        "model.safetensors",
        "history.png",
        "partition.png",
    }
    assert not [name for name in names if name.endswith(".partial")]


@pytest.mark.slow
def test_the_simple_cnn_learns_digits(config):
    directory = run_app(config | {"model": "simple-cnn", "batch-size": 8})

    first, *_, last = metrics(directory, "round")
    assert first["central"]["accuracy"] < 0.3
    assert last["central"]["accuracy"] > 0.5
    assert last["central"]["loss"] < first["central"]["loss"]


def test_the_history_has_every_round_and_participant(finished):
    _, directory = finished

    assert [row["server_round"] for row in metrics(directory, "round")] == [0, 1, 2]
    participants = metrics(directory, "participant")
    assert [(p["server_round"], p["participant"]) for p in participants] == [
        (server_round, name) for server_round in (1, 2) for name in ("0", "1", "2")
    ]
    assert all(p["failure"] is None and p["num_examples"] == 479 for p in participants)


def test_the_saved_model_is_the_one_that_was_scored(finished):
    config, directory = finished
    saved = load_file(directory / "model.safetensors")
    model = build_model("linear", seed=0)
    weights = [saved[name] for name in model_spec(model).names]
    set_weights(model, weights)

    result = evaluate(
        ImageClassification(), model, load_dataset("digits", Path(config["data-dir"])).test
    )

    summary = summary_of(directory)
    assert summary["reason"] == "all 2 rounds are done"
    assert summary["rounds"] == 2
    assert summary["failures"] == 0
    assert summary["central"]["accuracy"] == result.metrics["accuracy"]
    assert summary["central"]["loss"] == pytest.approx(result.loss, rel=1e-6)
    assert summary["sha256"]["weights"] == weights_digest(weights)
    assert not np.array_equal(weights[0], get_weights(build_model("linear", config["seed"]))[0])


def test_round_0_is_the_initial_model(finished):
    config, directory = finished
    model = build_model("linear", config["seed"])

    result = evaluate(
        ImageClassification(), model, load_dataset("digits", Path(config["data-dir"])).test
    )

    central = metrics(directory, "round")[0]["central"]
    assert central["accuracy"] == result.metrics["accuracy"]
    assert central["loss"] == pytest.approx(result.loss, rel=1e-6)


def test_equal_shards_make_federated_and_central_scores_agree(finished):
    _, directory = finished
    for row in metrics(directory, "round")[1:]:
        assert row["federated"]["num_examples"] == row["central"]["num_examples"] == 360
        assert row["federated"]["loss"] == pytest.approx(row["central"]["loss"], rel=1e-5)
        assert row["federated"]["accuracy"] == pytest.approx(row["central"]["accuracy"])


@pytest.mark.parametrize("changes", [{}, {"fraction-fit": 0.67, "partitioner": "dirichlet"}])
def test_two_runs_give_the_same_weights_whatever_the_order_and_the_node_ids(config, changes):
    hashes = {digest(run_app(config | changes, order=order)) for order in range(3)}

    assert len(hashes) == 1


def test_another_seed_gives_other_weights(config):
    hashes = [digest(run_app(config | {"seed": seed})) for seed in (1, 2)]

    assert hashes[0] != hashes[1]


def test_the_config_is_saved_with_everything_resolved(finished):
    config, directory = finished
    saved = json.loads((directory / "config.json").read_text())

    assert saved["run-config"] == config
    assert {"flwr", "torch", "numpy"} <= set(saved["packages"])


def test_over_selection_takes_the_first_to_finish(config):
    def silence(message, reply):
        return None

    changes = {"num-participants": 4, "fraction-fit": 0.5, "over-selection": 1.0}
    changes |= {"fraction-evaluate": 0.0, "num-server-rounds": 1}
    directory = run_app(config | changes, faults={0: silence, 2: silence})

    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    failures = {r["participant"]: r["failure"] for r in rows if r["kind"] == "participant"}
    slow = "2 others were faster, and no more are needed"
    assert failures == {"0": slow, "1": None, "2": slow, "3": None}
