"""Differential privacy in the whole application."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from torch import nn

from fl_app.tasks.model.federated_model import model_spec
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import MODELS, build_model
from strategies.core.vectors import euclidean_norm
from strategies.privacy.accountant import noise_multiplier_for
from tests.fl_app.privacy.private_run import DELTA, Z, releases, rows, spent, watching
from tests.support.local_run import run_app, run_on, summary_of

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
        for name, w, m in zip(model_spec(start).names, get_weights(start), mean, strict=True)
    ]
    # 7,850 values, each with noise of 0.01 * 1e-3 / 3.
    assert euclidean_norm(noise) == pytest.approx(1e-5 / 3 * np.sqrt(7850), rel=0.1)
    assert rows(directory)[1]["clip_norm"] == 1e-3


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


def normalised() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(28 * 28), nn.Linear(28 * 28, 10), nn.LogSoftmax(1)
    )


def test_it_is_said_that_statistics_get_noise(central, flower_log, monkeypatch):
    monkeypatch.setitem(MODELS, "normalised", normalised)
    short = central | {"num-server-rounds": 1}

    run_app(short)
    assert "statistics" not in flower_log.text
    run_app(short | {"model": "normalised"})

    assert "get noise: 1.running_mean, 1.running_var; a variance may become" in flower_log.text
