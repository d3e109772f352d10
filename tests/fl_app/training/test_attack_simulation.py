"""Participants that lie, in the whole application."""

import json
from pathlib import Path
from typing import Any

import pytest

from fl_app.tasks.registry import MODELS
from strategies.attacks import draw_adversaries
from tests.support.linear_model import Linear
from tests.support.local_run import run_app, summary_of

LIARS = 0.3


@pytest.fixture
def config(run_config, monkeypatch, no_pictures) -> dict[str, Any]:
    monkeypatch.setitem(MODELS, "linear", Linear)
    changes = {"model": "linear", "num-participants": 10, "fraction-evaluate": 0.0}
    config: dict[str, Any] = run_config | changes | {"tensorboard": False, "local-epochs": 2}
    return config


def accuracy(config: dict[str, Any]) -> float:
    scored: float = summary_of(run_app(config))["central"]["accuracy"]
    return scored


def participants(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == "participant"]


@pytest.mark.parametrize(
    "lie", ["sign-flip(scale=5.0)", "scaled-noise(scale=30.0)", "inflated-count(factor=100)"]
)
def test_liars_ruin_the_mean_and_the_median_stands_them(config, lie):
    lying = {"adversary": lie, "adversary-fraction": LIARS}
    honest = accuracy(config)

    assert accuracy(config | lying) < honest - 0.1
    assert accuracy(config | lying | {"aggregator": "median"}) > honest - 0.05


def test_those_who_are_drawn_lie_and_nobody_else(config):
    lying = {"adversary": "inflated-count(factor=100)", "adversary-fraction": LIARS}

    rows = participants(run_app(config | lying | {"num-server-rounds": 1}))

    liars = draw_adversaries(10, LIARS, config["seed"])
    claimed = {int(row["participant"]) for row in rows if row["num_examples"] > 1000}
    assert claimed == set(liars)


@pytest.mark.parametrize("lie", ["label-flip", "a-little-is-enough(z=2.0)"])
def test_lies_are_the_same_in_every_order(config, lie):
    lying = {"adversary": lie, "adversary-fraction": LIARS, "num-server-rounds": 1}

    digests = {
        summary_of(run_app(config | lying, order=order))["sha256"]["weights"] for order in (1, 2)
    }

    assert len(digests) == 1
    assert digests != {summary_of(run_app(config | {"num-server-rounds": 1}))["sha256"]["weights"]}
