import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message
from safetensors.numpy import load_file
from torch import nn

from fl_app.client_app import app as client_app
from fl_app.core.errors import ConfigError, UserError
from fl_app.data.datasets import load_dataset
from fl_app.data.tensor_dataset import Examples
from fl_app.messaging.client_registry import QuorumError
from fl_app.results.run_directory import RunDirectory, weights_digest
from fl_app.tasks.parameters import get_weights, set_weights, travelling_names
from fl_app.tasks.registry import MODELS, build_model
from fl_app.training.local_training import LocalUpdate, evaluate, local_update
from scripts.repository import default_run_config
from tests.support.linear_model import Linear
from tests.support.local_grid import Fault, InProcessGrid
from tests.support.local_run import run_app, run_on, summary_of


@pytest.fixture
def config(run_config, monkeypatch) -> dict[str, Any]:
    """Three participants, two rounds, a small model, and no pictures."""
    monkeypatch.setitem(MODELS, "linear", Linear)
    monkeypatch.setattr(RunDirectory, "write_plot", lambda self, name, draw: None)
    return {**run_config, "model": "linear", "tensorboard": False, "quorum-deadline": 30.0}


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


@pytest.fixture
def flower_log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    return caplog


def metrics(directory: Path, kind: str) -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def weights_hash(directory: Path) -> str:
    digest: str = summary_of(directory)["sha256"]["weights"]
    return digest


def only_run(config: dict[str, Any]) -> Path:
    (directory,) = Path(config["output-dir"]).iterdir()
    return directory


def overwritten(value: float) -> Fault:
    """Replace every number of an update."""

    def fault(message: Message, reply: Callable[[], Message]) -> Message:
        answer = reply()
        if message.metadata.message_type == "train":
            for array in answer.content.array_records["fitres.parameters"].values():
                header = array.data[: 10 + int.from_bytes(array.data[8:10], "little")]
                count = (len(array.data) - len(header)) // 4
                signs = np.resize(np.array([1, -1], np.float32), count)
                array.data = header + (signs * np.float32(value)).tobytes()
        return answer

    return fault


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
    weights = [saved[name] for name in travelling_names(model)]
    set_weights(model, weights)

    result = evaluate(model, load_dataset("digits", Path(config["data-dir"])).test)

    summary = summary_of(directory)
    assert summary["reason"] == "all 2 rounds are done"
    assert summary["rounds"] == 2
    assert summary["failures"] == 0
    assert summary["central"]["accuracy"] == result.accuracy
    assert summary["central"]["loss"] == pytest.approx(result.loss, rel=1e-6)
    assert summary["sha256"]["weights"] == weights_digest(weights)
    assert not np.array_equal(weights[0], get_weights(build_model("linear", config["seed"]))[0])


def test_round_0_is_the_initial_model(finished):
    config, directory = finished
    model = build_model("linear", config["seed"])

    result = evaluate(model, load_dataset("digits", Path(config["data-dir"])).test)

    central = metrics(directory, "round")[0]["central"]
    assert central["accuracy"] == result.accuracy
    assert central["loss"] == pytest.approx(result.loss, rel=1e-6)


def test_equal_shards_make_federated_and_central_scores_agree(finished):
    _, directory = finished
    for row in metrics(directory, "round")[1:]:
        assert row["federated"]["num_examples"] == row["central"]["num_examples"] == 360
        assert row["federated"]["loss"] == pytest.approx(row["central"]["loss"], rel=1e-5)
        assert row["federated"]["accuracy"] == pytest.approx(row["central"]["accuracy"])


@pytest.mark.parametrize("changes", [{}, {"fraction-fit": 0.67, "partitioner": "dirichlet"}])
def test_two_runs_give_the_same_weights_whatever_the_order_and_the_node_ids(config, changes):
    hashes = {weights_hash(run_app(config | changes, order=order)) for order in range(3)}

    assert len(hashes) == 1


def test_another_seed_gives_other_weights(config):
    hashes = [weights_hash(run_app(config | {"seed": seed})) for seed in (1, 2)]

    assert hashes[0] != hashes[1]


def test_the_config_is_saved_with_everything_resolved(finished):
    config, directory = finished
    saved = json.loads((directory / "config.json").read_text())

    assert saved["run-config"] == config
    assert {"flwr", "torch", "numpy"} <= set(saved["packages"])


# What goes wrong


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch-size": 0}, "batch-size = 0 is not allowed; it must be"),
        ({"model": "resnet"}, 'model = "resnet" is not known'),
        ({"output-dir": "relative"}, "output-dir = 'relative' must be an absolute path"),
        ({"data-dir": "relative"}, "data-dir"),
        ({"num-participants": 5000}, "num-participants"),
        ({"typo": 1}, "there is no key typo"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused_before_anything_is_written(
    config, changes, message
):
    grid = InProcessGrid(client_app, config, 3)

    with pytest.raises(ConfigError, match=message):
        run_on(grid, config | changes)
    assert not Path(config["output-dir"]).exists()


def test_a_gpu_that_is_not_there_is_told_like_any_other_setting(config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(UserError, match="cuda"):
        run_app(config | {"device": "cuda"})


def test_a_participant_that_raises_is_named_with_the_cause(config, monkeypatch, flower_log):
    def failing(model: nn.Module, weights: Any, examples: Examples, *more: Any) -> LocalUpdate:
        if len(examples) == 360:  # 1437 = 359 + 359 + 359 + 360: the last of four
            raise MemoryError("not enough")
        return local_update(model, weights, examples, *more)

    monkeypatch.setattr("fl_app.training.update_pipeline.local_update", failing)

    directory = run_app(config | {"num-participants": 4})

    failures = {p["participant"]: p["failure"] for p in metrics(directory, "participant")}
    assert failures == {"0": None, "1": None, "2": None, "3": "MemoryError: not enough"}
    assert summary_of(directory)["failures"] == 2
    assert "participant 3: MemoryError: not enough" in flower_log.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_update_that_is_not_finite_is_dropped_by_name_and_the_others_count(config, value):
    directory = run_app(config, faults={1: overwritten(value)})

    for participant in metrics(directory, "participant"):
        assert (participant["failure"] is not None) == (participant["participant"] == "1")
        if participant["participant"] == "1":
            assert "values that are not finite" in participant["failure"]
    assert summary_of(directory)["failures"] == 2
    assert all(row["aggregated"] for row in metrics(directory, "round")[1:])


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_model_that_diverges_to_nan_still_leaves_a_summary(config):
    directory = run_app(config, faults=dict.fromkeys(range(3), overwritten(3e37)))

    assert summary_of(directory)["central"]["loss"] is None


def test_a_silent_participant_is_given_up_at_the_deadline(config):
    silent = {1: lambda message, reply: None}

    directory = run_app(config | {"round-deadline": 1.5, "num-server-rounds": 1}, faults=silent)

    failures = {p["participant"]: p["failure"] for p in metrics(directory, "participant")}
    assert failures == {"0": None, "1": "no reply within the deadline of 1.5 s", "2": None}
    (_, row) = metrics(directory, "round")
    assert row["evaluation_failures"] == {"1": "no reply within the deadline of 1.5 s"}


def test_a_missed_quorum_ends_the_run_with_its_summary_saved(config):
    grid = InProcessGrid(client_app, config, 3)
    grid.disconnect(2)

    with pytest.raises(QuorumError, match="2 of the 3 participants needed are connected"):
        run_on(grid, config | {"quorum-deadline": 0.2})

    summary = summary_of(only_run(config))
    assert "2 of the 3 participants" in summary["reason"]
    assert summary["rounds"] == 0


def test_nodes_of_a_federation_of_another_size_are_told_what_to_change(config, flower_log):
    grid = InProcessGrid(client_app, config, 4)  # four nodes, where the run config says three

    with pytest.raises(QuorumError, match="0 of the 3"):
        run_on(grid, config | {"quorum-deadline": 0.2})
    assert "4 participants" in flower_log.text
    assert "but num-participants = 3" in flower_log.text


def test_an_output_folder_that_cannot_be_made_ends_the_run_before_training(config, tmp_path):
    (tmp_path / "file").write_text("")
    asked: list[str] = []

    class Watching(InProcessGrid):
        def push_messages(self, messages: Any) -> Any:
            asked.append("asked")
            return super().push_messages(messages)

    with pytest.raises(UserError, match="set output-dir"):
        run_on(
            Watching(client_app, config, 3), config | {"output-dir": str(tmp_path / "file" / "x")}
        )
    assert asked == []


def test_a_user_error_is_logged_without_a_traceback(flower_log):
    logger = logging.getLogger("flwr")
    try:
        raise ConfigError("seed = -1 is not allowed")
    except ConfigError:
        logger.exception("ServerApp thread raised an exception")

    assert "run stopped: seed = -1 is not allowed" in flower_log.text
    assert "Traceback" not in flower_log.text


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
