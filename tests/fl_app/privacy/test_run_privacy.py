"""Differential privacy in the whole application."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message
from safetensors.numpy import load_file
from torch import nn

from fl_app.client_app import app as client_app
from fl_app.core.atomic_io import write_atomically
from fl_app.core.errors import ResumeError
from fl_app.privacy.run_privacy import LedgerError
from fl_app.results.run_directory import RunDirectory
from fl_app.tasks.parameters import get_weights, travelling_names
from fl_app.tasks.registry import MODELS, build_model
from fl_app.training.local_training import LocalUpdate, local_update
from strategies.core.client_update import Arrays
from strategies.privacy.accountant import epsilon_of, noise_multiplier_for
from strategies.privacy.clipping import norm_of
from tests.support.linear_model import Linear
from tests.support.local_grid import InProcessGrid
from tests.support.local_run import run_app, run_on, summary_of

DELTA = 1e-5
Z = 2.0


@pytest.fixture
def config(run_config, monkeypatch) -> dict[str, Any]:
    monkeypatch.setitem(MODELS, "linear", Linear)
    monkeypatch.setattr(RunDirectory, "write_plot", lambda self, name, draw: None)
    small = {"model": "linear", "tensorboard": False, "fraction-evaluate": 0.0}
    quick: dict[str, Any] = run_config | small | {"num-server-rounds": 3}
    return quick


@pytest.fixture
def central(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"privacy": "central", "clip-norm": 0.1, "noise-multiplier": Z}


@pytest.fixture
def distributed(central: dict[str, Any]) -> dict[str, Any]:
    return central | {"privacy": "distributed"}


@pytest.fixture
def flower_log(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    return caplog


def rows(directory: Path, kind: str = "round") -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def spent(directory: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((directory / "privacy.json").read_text())["sum of 1/z^2"]
    return found


def releases(count: float) -> float:
    """Epsilon after so many releases."""
    return epsilon_of(count * Z**-2, DELTA)


@dataclass(frozen=True)
class Sent:
    """What a participant sent; copied, because the server consumes it."""

    delta: Arrays
    metrics: dict[str, Any]
    num_examples: dict[str, Any]

    @property
    def norm(self) -> float:
        return norm_of(self.delta)


def watching(
    config: dict[str, Any], meddle: Callable[[Message], None] = lambda message: None
) -> tuple[InProcessGrid, list[Sent]]:
    """A grid, and every reply to training that goes over it."""
    replies: list[Sent] = []

    def watch(message: Message, reply: Callable[[], Message]) -> Message:
        if message.metadata.message_type != "train":
            return reply()
        meddle(message)
        answer = reply()
        content = answer.content
        arrays = content.array_records["fitres.parameters"].values()
        replies.append(
            Sent(
                [array.numpy() for array in arrays],
                dict(content.config_records["fitres.metrics"]),
                dict(content.metric_records["fitres.num_examples"]),
            )
        )
        return answer

    return InProcessGrid(client_app, config, 3, faults=dict.fromkeys(range(3), watch)), replies


# What is spent, and where it is told


@pytest.mark.parametrize("mode", ["central", "distributed"])
def test_epsilon_is_in_every_rounds_row_and_line_and_in_the_summary(central, mode, flower_log):
    directory = run_app(central | {"privacy": mode, "target-epsilon": 100.0})

    assert [row["epsilon"] for row in rows(directory)] == [
        None,
        *(pytest.approx(releases(n)) for n in (1, 2, 3)),
    ]
    found = summary_of(directory)["privacy"]
    assert found["epsilon"] == pytest.approx(releases(3))
    assert (found["mode"], found["delta"], found["budget"]) == (mode, DELTA, 100.0)
    assert found["repeatable"] is False
    assert spent(directory) == dict.fromkeys("012", 3 * Z ** (-2))
    assert f"epsilon {releases(2):.3g} of 100 |" in flower_log.text
    assert f"privacy: {mode} noise of multiplier 2 on a clip norm of 0.1" in flower_log.text


def test_without_privacy_there_is_no_ledger_and_nothing_is_said_of_it(config):
    directory = run_app(config)

    assert not (directory / "privacy.json").exists()
    assert summary_of(directory)["privacy"] is None
    assert all(row["epsilon"] is None for row in rows(directory))


def test_only_those_sampled_are_charged(central):
    directory = run_app(central | {"fraction-fit": 0.67, "num-server-rounds": 4})

    counts = {name: round(total * Z**2) for name, total in spent(directory).items()}
    assert sum(counts.values()) == 8
    asked = [row["participant"] for row in rows(directory, "participant")]
    assert counts == {name: asked.count(name) for name in counts}
    assert summary_of(directory)["privacy"]["epsilon"] == pytest.approx(
        releases(max(counts.values()))
    )


def test_two_private_runs_differ_and_so_do_two_releases_of_the_same_sum(central):
    digests = {summary_of(run_app(central))["sha256"]["weights"] for _ in range(2)}

    assert len(digests) == 2


def test_with_next_to_no_noise_the_result_is_the_mean_of_the_clipped_deltas(central):
    quiet = central | {"clip-norm": 1e-3, "noise-multiplier": 0.01, "num-server-rounds": 1}
    grid, replies = watching(quiet)
    directory = run_on(grid, quiet)

    assert [reply.norm for reply in replies] == pytest.approx([1e-3] * 3, rel=1e-6)
    mean = [sum(layer) / 3 for layer in zip(*(reply.delta for reply in replies), strict=True)]
    saved = load_file(directory / "model.safetensors")
    start = build_model("linear", quiet["seed"])
    noise = [
        saved[name] - w - m
        for name, w, m in zip(travelling_names(start), get_weights(start), mean, strict=True)
    ]
    # 7,850 values, each with noise of 0.01 * 1e-3 / 3.
    assert norm_of(noise) == pytest.approx(1e-5 / 3 * np.sqrt(7850), rel=0.1)
    assert rows(directory)[1]["clip_norm"] == 1e-3


# What leaves a participant


@pytest.mark.parametrize("mode", ["central", "distributed"])
def test_a_reply_to_training_tells_nothing_but_the_protected_delta(central, mode):
    private = central | {"privacy": mode}
    grid, replies = watching(private)
    directory = run_on(grid, private)

    for reply in replies:
        assert reply.metrics.keys() == {"update", "participant"}
        assert reply.num_examples == {"num_examples": 1}
    assert len(replies) == 9
    for row in rows(directory, "participant"):
        assert row["num_examples"] == 1
        assert row["train_loss"] is row["train_accuracy"] is row["update_norm"] is None
    assert all(row["train_loss"] is None for row in rows(directory))


def test_clipping_alone_reports_as_ever_and_the_norm_before_clipping(config):
    clipped = config | {"clip-norm": 1e-3}
    grid, replies = watching(clipped)
    directory = run_on(grid, clipped)

    assert all(0.999e-3 < reply.norm <= 1e-3 for reply in replies)
    for row in rows(directory, "participant"):
        assert row["num_examples"] == 479
        assert row["update_norm"] > 1e-3


def test_clip_norm_off_or_large_changes_no_bit(config):
    digests = {
        summary_of(run_app(config | {"clip-norm": clip_norm}))["sha256"]["weights"]
        for clip_norm in (0.0, 1e6)
    }

    assert len(digests) == 1


def test_distributed_noise_is_in_what_is_sent(distributed):
    grid, replies = watching(distributed | {"num-server-rounds": 1})
    run_on(grid, distributed | {"num-server-rounds": 1})

    share = Z * 0.1 / np.sqrt(3)  # of each of 7,850 values; the delta's norm is 0.1 at most
    for reply in replies:
        assert reply.norm == pytest.approx(share * np.sqrt(7850), rel=0.1)


def test_training_that_diverged_is_hidden_in_zeros(central, monkeypatch, flower_log):
    def diverging(model: nn.Module, weights: Any, *more: Any) -> LocalUpdate:
        update = local_update(model, weights, *more)
        update.delta[0][...] = np.nan
        return update

    monkeypatch.setattr("fl_app.training.update_pipeline.local_update", diverging)
    grid, replies = watching(central)

    directory = run_on(grid, central)

    assert [reply.norm for reply in replies] == [0.0] * 9
    assert summary_of(directory)["failures"] == 0
    assert "a delta of zeros is sent instead" in flower_log.text


def test_a_server_that_asks_for_no_clipping_is_not_obeyed_where_it_is_not_trusted(distributed):
    def ask_for_no_clipping(message: Message) -> None:
        message.content.config_records["fitins.config"]["clip-norm"] = 0.0

    grid, replies = watching(distributed, ask_for_no_clipping)
    run_on(grid, distributed)

    assert min(reply.norm for reply in replies) > Z * 0.1 / np.sqrt(3) * np.sqrt(7850) * 0.9


def test_what_is_not_protected_is_told_at_the_start(central, flower_log):
    run_app(central | {"fraction-evaluate": 1.0, "num-server-rounds": 1})

    assert "what participants report of their evaluation is not protected" in flower_log.text


# The budget


def test_the_noise_is_solved_so_that_the_last_round_uses_the_budget_up(central):
    directory = run_app(central | {"noise-multiplier": 0.0, "target-epsilon": 3.0})

    found = summary_of(directory)
    assert found["reason"] == "all 3 rounds are done"
    assert found["privacy"]["epsilon"] == pytest.approx(3.0, rel=1e-6)
    assert found["privacy"]["epsilon"] <= 3.0
    assert found["privacy"]["noise_multiplier"] == noise_multiplier_for(3.0, DELTA, 3)


@pytest.mark.parametrize("mode", ["central", "distributed"])
def test_the_run_ends_before_the_round_that_would_exceed_the_budget(central, mode):
    budget = releases(2.5)
    directory = run_app(central | {"privacy": mode, "target-epsilon": budget})

    found = summary_of(directory)
    assert found["rounds"] == 2
    assert found["reason"] == (
        f"epsilon {releases(2):.3g} of {budget:g} is spent, and the next round would make it "
        f"{releases(3):.3g}"
    )
    assert found["privacy"]["epsilon"] == pytest.approx(releases(2))


def test_a_budget_that_is_too_small_for_one_round_ends_the_run_before_anybody_is_asked(central):
    private = central | {"target-epsilon": 0.1}
    grid, replies = watching(private)

    directory = run_on(grid, private)

    assert replies == []
    assert summary_of(directory)["rounds"] == 0
    assert summary_of(directory)["privacy"]["epsilon"] == 0.0


def test_a_run_that_has_used_its_budget_up_does_nothing_more_when_it_is_resumed(central):
    private = central | {"target-epsilon": releases(2.5)}
    directory = run_app(private)
    before = summary_of(directory)

    run_app(private | {"resume": str(directory), "num-server-rounds": 9})

    after = summary_of(directory)
    del before["seconds"], after["seconds"]
    assert after == before


# What fails


def lost(message: Message, reply: Callable[[], Message]) -> Message:
    if message.metadata.message_type == "train":
        return Message(Error(3, "lost"), reply_to=message)
    return reply()


def test_who_did_not_reply_is_not_charged_and_central_noise_is_as_planned(central):
    directory = run_app(central, faults={1: lost})

    assert spent(directory) == dict.fromkeys("02", 3 * Z ** (-2))
    assert summary_of(directory)["privacy"]["epsilon"] == pytest.approx(releases(3))


def test_who_replied_is_charged_for_the_shares_of_noise_that_were_missing(distributed):
    directory = run_app(distributed, faults={1: lost})

    # Two of three shares: each round costs 3/2 of what it would.
    assert spent(directory) == pytest.approx(dict.fromkeys("02", 3 * Z ** (-2) * 1.5))


def test_a_sum_with_too_few_shares_is_kept_back_and_the_run_ends(distributed):
    directory = run_app(
        distributed | {"target-epsilon": releases(1.2), "num-server-rounds": 5}, faults={1: lost}
    )

    found = summary_of(directory)
    _, first = rows(directory)
    assert not first["aggregated"]
    assert first["epsilon"] == pytest.approx(releases(1.5))  # the server has seen it
    assert "is spent, and the next round would make it" in found["reason"]


def test_a_refused_update_is_not_in_the_sum_nor_charged(central):
    def damaged(message: Message, reply: Callable[[], Message]) -> Message:
        answer = reply()
        if message.metadata.message_type == "train":
            for array in answer.content.array_records["fitres.parameters"].values():
                array.data = array.data[:-4]
        return answer

    directory = run_app(central, faults={2: damaged})

    assert spent(directory).keys() == {"0", "1"}


def test_a_ledger_that_cannot_be_written_ends_the_run_with_nothing_released(central, monkeypatch):
    writes = iter(range(100))

    def failing(path: Path, content: bytes) -> None:
        if next(writes) == 2:  # the first is empty, the second of round 1
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr("fl_app.privacy.run_privacy.write_atomically", failing)

    with pytest.raises(LedgerError, match="No space left on device"):
        run_app(central)

    (directory,) = Path(central["output-dir"]).iterdir()
    found = summary_of(directory)
    assert found["rounds"] == 1
    assert found["privacy"]["epsilon"] == pytest.approx(releases(1))


# Resume


def test_a_run_killed_between_ledger_and_checkpoint_spends_the_round_twice(central, tmp_path):
    directory = run_app(central | {"num-server-rounds": 1})
    at_1 = tmp_path / "at-1"
    shutil.copytree(directory, at_1)
    run_app(central | {"num-server-rounds": 2, "resume": str(directory)})
    # All as after round 1, but for the ledger: killed before anything else of round 2 was saved.
    for name in ("checkpoint.safetensors", "metrics.jsonl"):
        shutil.copy(at_1 / name, directory / name)

    run_app(central | {"num-server-rounds": 2, "resume": str(directory)})

    assert [row["epsilon"] for row in rows(directory)] == [
        None,
        pytest.approx(releases(1)),
        pytest.approx(releases(3)),  # rounds 1, 2 and 2 again
    ]
    assert spent(directory) == dict.fromkeys("012", 3 * Z ** (-2))


def test_a_resumed_run_goes_on_with_what_was_spent(central):
    directory = run_app(central | {"num-server-rounds": 2})

    run_app(central | {"resume": str(directory)})

    assert summary_of(directory)["privacy"]["epsilon"] == pytest.approx(releases(3))


@pytest.mark.parametrize("fate", ["missing", "older", "damaged"])
def test_a_run_whose_ledger_is_lost_cannot_be_resumed(central, fate):
    directory = run_app(central | {"num-server-rounds": 1})
    ledger = directory / "privacy.json"
    older = ledger.read_text()
    if fate == "missing":
        ledger.unlink()
    elif fate == "damaged":
        ledger.write_text(older[:20])
    else:
        run_app(central | {"num-server-rounds": 2, "resume": str(directory)})
        ledger.write_text(older)

    with pytest.raises(ResumeError, match=r"privacy\.json"):
        run_app(central | {"resume": str(directory)})


def test_budget_and_noise_cannot_be_changed_on_resume(central):
    directory = run_app(central | {"num-server-rounds": 1, "target-epsilon": 50.0})

    with pytest.raises(ResumeError, match=r"target-epsilon was 50\.0, is 60\.0"):
        run_app(central | {"target-epsilon": 60.0, "resume": str(directory)})


# Adaptive clipping


def test_the_clip_norm_follows_is_sent_and_survives_a_resume(central):
    private = central | {"adaptive-clip-quantile": 0.5, "clip-norm": 1e-3, "noise-multiplier": 0.1}
    directory = run_app(private)
    norms = [row["clip_norm"] for row in rows(directory)]

    # All deltas are longer, so it grows by about exp(0.2 * 0.5) = 1.1 in each round.
    assert norms[:2] == [None, 1e-3]
    assert norms[1] < norms[2] < norms[3] < summary_of(directory)["privacy"]["clip_norm"]

    resumed = private | {"num-server-rounds": 4, "resume": str(directory)}
    grid, replies = watching(resumed)
    last = summary_of(directory)["privacy"]["clip_norm"]
    run_on(grid, resumed)
    assert rows(directory)[-1]["clip_norm"] == last
    assert [reply.norm for reply in replies] == pytest.approx([last] * 3, rel=1e-6)
