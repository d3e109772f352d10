"""Runs whose participants evaluate a model when they receive it to train on."""

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from fl_app.client_app import app as client_app
from fl_app.messaging.client_registry import QuorumError
from scripts.harness.in_process_grid import InProcessGrid
from tests.support.local_run import digest, run_app, run_on, summary_of


@pytest.fixture
def config(config) -> dict[str, Any]:
    longer: dict[str, Any] = config | {"num-server-rounds": 4}
    return longer


def test_evaluation_with_training_changes_neither_weights_nor_scores(config):
    apart = run_app(config)
    together = run_app(config | {"evaluate-with-training": True})

    assert digest(together) == digest(apart)
    ours, theirs = summary_of(together), summary_of(apart)
    assert (ours["federated"], ours["best"], ours["rounds"]) == (
        theirs["federated"],
        theirs["best"],
        theirs["rounds"],
    )


@pytest.mark.parametrize("target", [0.3, 0.6])
def test_evaluation_with_training_ends_the_run_at_the_same_model(config, target):
    stop = {"monitor": "federated", "target-accuracy": target, "num-server-rounds": 8}
    apart = run_app(config | stop)
    together = run_app(config | stop | {"evaluate-with-training": True})

    assert summary_of(apart)["rounds"] < 8
    assert digest(together) == digest(apart)
    assert summary_of(together)["rounds"] == summary_of(apart)["rounds"]
    assert summary_of(together)["reason"] == summary_of(apart)["reason"]


def test_evaluation_with_training_resumes_to_the_same_bits(config):
    together = config | {"evaluate-with-training": True}
    whole = run_app(together)
    half = run_app(together | {"num-server-rounds": 2})

    assert digest(run_app(together | {"resume": str(half)})) == digest(whole)


def test_a_round_that_waits_for_its_score_is_kept_when_the_run_breaks(config):
    together = config | {"evaluate-with-training": True, "quorum-deadline": 0.3}
    grid = InProcessGrid(client_app, together, 3)
    rounds = iter(range(1, 100))

    def leave_after_round_2(message: Message, reply: Any) -> Message | None:
        answer: Message = reply()
        if message.metadata.message_type == "train" and next(rounds) == 2:
            for partition_id in range(3):
                grid.disconnect(partition_id)
        return answer

    grid.faults[0] = leave_after_round_2
    with pytest.raises(QuorumError, match="0 of the 1 participants needed"):
        run_on(grid, together)

    (directory,) = Path(config["output-dir"]).iterdir()
    assert summary_of(directory)["rounds"] == 2
