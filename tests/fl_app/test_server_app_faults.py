"""Whole runs in which something goes wrong."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message
from torch import nn

from fl_app.client_app import app as client_app
from fl_app.core.errors import ConfigError, UserError
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.experiment.run import RunFailedError
from fl_app.messaging.client_registry import QuorumError
from fl_app.tasks.task import Task
from fl_app.training.local.local_training import LocalUpdate, local_update
from scripts.harness.in_process_grid import Fault, InProcessGrid
from tests.support.local_run import metrics, run_app, run_on, summary_of


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
    def failing(
        task: Task, model: nn.Module, weights: Any, examples: ImageExamples, *more: Any
    ) -> LocalUpdate:
        if len(examples) == 360:  # 1437 = 359 + 359 + 359 + 360: the last of four
            raise MemoryError("not enough")
        return local_update(task, model, weights, examples, *more)

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
    with pytest.raises(RunFailedError, match="the loss of the final model is not finite"):
        run_app(config, faults=dict.fromkeys(range(3), overwritten(3e37)))

    assert summary_of(only_run(config))["central"]["loss"] is None


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
