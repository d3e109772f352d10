"""What server and participants remember between rounds, over faults and resumes."""

import shutil
from typing import Any

import pytest
from flwr.app import Error, Message

from fl_app.core.errors import ResumeError
from tests.support.local_run import digest, run_app, summary_of

pytestmark = pytest.mark.slow

REMEMBERING: list[dict[str, Any]] = [
    {"scaffold": True},
    {"codec": "top-k(fraction=0.02, values='int4')"},
    {"server-optimizer": "sgd(momentum=0.9)"},
    {"server-optimizer": "yogi(lr=0.05)", "codec": "top-k(fraction=0.05)", "momentum": 0.5},
    {"server-optimizer": "torch-adam(lr=0.01)", "server-lr-schedule": "cosine(rounds=6)"},
]


@pytest.fixture
def config(config) -> dict[str, Any]:
    longer: dict[str, Any] = config | {"num-server-rounds": 4}
    return longer


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
