"""What server and participants remember between rounds, over faults and resumes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Error, Message

from fl_app.client_app import app as client_app
from fl_app.core.errors import ResumeError
from fl_app.messaging.client_registry import QuorumError
from fl_app.tasks.registry import MODELS
from tests.support.linear_model import Linear
from tests.support.local_grid import InProcessGrid
from tests.support.local_run import run_app, run_on, summary_of

REMEMBERING: list[dict[str, Any]] = [
    {"scaffold": True},
    {"codec": "top-k(fraction=0.02, values='int4')"},
    {"server-optimizer": "sgd(momentum=0.9)"},
    {"server-optimizer": "yogi(lr=0.05)", "codec": "top-k(fraction=0.05)", "momentum": 0.5},
    {"server-optimizer": "torch-adam(lr=0.01)", "server-lr-schedule": "cosine(rounds=6)"},
]


@pytest.fixture
def config(run_config, monkeypatch) -> dict[str, Any]:
    monkeypatch.setitem(MODELS, "linear", Linear)
    return {**run_config, "model": "linear", "num-server-rounds": 4, "tensorboard": False}


def digest(directory: Path) -> str:
    weights: str = summary_of(directory)["sha256"]["weights"]
    return weights


@pytest.mark.parametrize("parts", REMEMBERING, ids=str)
def test_a_resumed_run_gives_the_same_bits_as_an_uninterrupted_one(config, parts):
    whole = run_app(config | parts)
    half = run_app(config | parts | {"num-server-rounds": 2})

    resumed = run_app(config | parts | {"resume": str(half)})

    assert resumed == half
    assert digest(resumed) == digest(whole)
    assert summary_of(resumed)["rounds"] == 4


@pytest.mark.parametrize("parts", REMEMBERING[:2], ids=str)
def test_it_may_go_back_behind_what_participants_have_done_since(config, parts, tmp_path):
    """The server is killed between two checkpoints: rounds 3 and 4 are done again."""
    parts = parts | {"checkpoint-every": 2}
    whole = run_app(config | parts | {"num-server-rounds": 5})
    killed = run_app(config | parts | {"num-server-rounds": 2})
    at_2 = tmp_path / "at-2"
    shutil.copytree(killed, at_2)
    run_app(config | parts | {"num-server-rounds": 3, "resume": str(killed)})
    shutil.copy(at_2 / "checkpoint.safetensors", killed / "checkpoint.safetensors")

    resumed = run_app(config | parts | {"num-server-rounds": 5, "resume": str(killed)})

    assert digest(resumed) == digest(whole)


@pytest.mark.parametrize("parts", REMEMBERING[:2], ids=str)
def test_memories_differ_from_beginning_anew(config, parts):
    half = run_app(config | parts | {"num-server-rounds": 2})
    whole = run_app(config | parts)
    shutil.rmtree(half / "participants")

    forgetful = run_app(config | parts | {"resume": str(half)})

    assert digest(forgetful) != digest(whole)


def test_a_lost_update_leaves_the_memory_where_it_last_counted(config):
    """Participant 1 trains in round 2, but its reply is lost: as if it had sat out the round."""
    parts = {"codec": "top-k(fraction=0.02)"}
    passages = {"lost": 0, "out": 0}

    def lost(message: Message, reply: Any) -> Message | None:
        passages["lost"] += message.metadata.message_type == "train"
        answer: Message = reply()
        if message.metadata.message_type == "train" and passages["lost"] == 2:
            return Message(Error(3, "lost"), reply_to=message)
        return answer

    def sits_out(message: Message, reply: Any) -> Message | None:
        passages["out"] += message.metadata.message_type == "train"
        if message.metadata.message_type == "train" and passages["out"] == 2:
            return Message(Error(3, "lost"), reply_to=message)
        answer: Message = reply()
        return answer

    first = run_app(config | parts, faults={1: lost})
    second = run_app(config | parts, faults={1: sits_out})

    assert digest(first) == digest(second)


def test_a_server_optimizer_of_another_kind_is_another_run(config):
    half = run_app(config | {"server-optimizer": "adam", "num-server-rounds": 2})

    with pytest.raises(ResumeError, match=r"server-optimizer was adam, is yogi"):
        run_app(config | {"server-optimizer": "yogi", "resume": str(half)})


def test_sgd_with_rate_1_is_plain_averaging_to_the_bit(config):
    plain = run_app(config)
    sgd = run_app(config | {"server-optimizer": "sgd(lr=1.0)", "codec": "identity"})

    assert digest(plain) == digest(sgd)


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
