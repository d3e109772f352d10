"""Whole runs of models that tie, freeze, or store their parameters in ways of their own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message
from safetensors.numpy import load_file

from fl_app.core.errors import ConfigError
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import MODELS, build_model
from tests.fl_app.privacy.private_run import rows
from tests.fl_app.tasks.own_models import Complex, FrozenBackbone, Narrow, Tied
from tests.support.local_run import metrics, run_app, summary_of

KINDS = {"tied": Tied, "frozen": FrozenBackbone, "complex": Complex, "narrow": Narrow}


@pytest.fixture
def config(config, monkeypatch) -> dict[str, Any]:
    for name, model in KINDS.items():
        monkeypatch.setitem(MODELS, name, model)
    return {**config, "num-server-rounds": 2}


TOP_K = {"codec": "top-k(fraction=0.2)"}
PRIVATE = {"privacy": "central", "clip-norm": 1.0, "noise-multiplier": 0.5, "fraction-fit": 1.0}


@pytest.mark.parametrize(
    "parts",
    [
        PRIVATE,
        {"server-optimizer": "adam(lr=0.1)"},
        {"scaffold": True},
        TOP_K,
    ],
    ids=["private", "adam", "scaffold", "top-k"],
)
def test_what_is_frozen_is_the_same_to_the_bit_after_a_run(config, parts):
    before = build_model("frozen", config["seed"]).state_dict()

    after = load_file(run_app({**config, **parts, "model": "frozen"}) / "model.safetensors")

    for name in ("backbone.weight", "backbone.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert (after["head.weight"] != before["head.weight"].numpy()).any()


def test_what_is_frozen_is_not_sent(config):
    reports = rows(run_app({**config, "model": "frozen"}), "participant")

    head = 4 * (12 * 10 + 10)
    assert all(head < row["bytes_up"] < 2 * head for row in reports)


def test_a_participant_with_another_backbone_is_refused_by_name(config, monkeypatch):
    def another(message: Message, reply: Callable[[], Message]) -> Message:
        with monkeypatch.context() as patch:
            patch.setitem(MODELS, "frozen", lambda: FrozenBackbone(seed=1))
            return reply()

    directory = run_app({**config, "model": "frozen"}, faults={1: another})

    failures = [(row["participant"], row["failure"]) for row in rows(directory, "participant")]
    assert {who for who, failure in failures if failure} == {"1"}
    assert "the frozen parameters of the model here are not those" in dict(failures)["1"]


@pytest.mark.parametrize("parts", [{}, {"momentum": 0.9}, {"server-optimizer": "adam(lr=0.05)"}])
def test_a_tied_tensor_is_trained_as_one_and_saved_as_one(config, parts):
    after = load_file(run_app({**config, **parts, "model": "tied"}) / "model.safetensors")

    before = get_weights(build_model("tied", config["seed"]))[1]
    np.testing.assert_array_equal(after["inner.weight"], after["again.weight"])
    assert (after["inner.weight"] != before).any()


def test_the_server_optimizer_steps_a_tied_tensor(config):
    """It used to be added to as if there were no optimizer, through its second name."""
    one_round = {**config, "num-server-rounds": 1, "model": "tied"}

    still = load_file(
        run_app({**one_round, "server-optimizer": "sgd(lr=0.0)"}) / "model.safetensors"
    )

    before = get_weights(build_model("tied", config["seed"]))[1]
    np.testing.assert_array_equal(still["inner.weight"], before)


@pytest.mark.parametrize("model", ["complex", "narrow"])
@pytest.mark.parametrize("parts", [{}, {"scaffold": True}, {"proximal-mu": 0.1, "momentum": 0.9}])
def test_complex_and_bfloat16_models_learn(config, model, parts):
    directory = run_app({**config, **parts, "model": model})

    summary = summary_of(directory)
    assert summary["central"]["accuracy"] > 0.5
    assert not summary["failures"]


def test_what_a_bfloat16_model_learns_is_kept_in_float32(config):
    after = load_file(run_app({**config, "model": "narrow"}) / "model.safetensors")

    weight = torch.tensor(after["fc.weight"])
    assert weight.dtype == torch.float32
    assert (weight != weight.to(torch.bfloat16).float()).any()


@pytest.mark.parametrize("parts", [{}, {"scaffold": True}])
def test_a_bfloat16_model_travels_in_two_bytes_a_value(config, parts):
    directory = run_app({**config, **parts, "model": "narrow", "fraction-evaluate": 1.0})

    values = 7850
    control = 4 * values if parts else 0
    rows = metrics(directory, "participant")
    assert all(2 * values < row["bytes_up"] < 2 * values + 500 for row in rows)
    assert all(row["bytes_down"] - 2 * values - control < 1000 for row in rows)
    last = metrics(directory, "round")[-1]
    evaluations = last["bytes_down"] - sum(
        row["bytes_down"] for row in rows if row["server_round"] == last["server_round"]
    )
    assert 0 < evaluations < len({row["participant"] for row in rows}) * (2 * values + 500)


@pytest.mark.parametrize(
    "parts", [{"strategy": "FedAvg"}, {"codec": "top-k(fraction=0.5)"}, {"clip-norm": 1.0}]
)
def test_a_bfloat16_model_learns_however_it_travels(config, parts):
    assert summary_of(run_app({**config, **parts, "model": "narrow"}))["central"]["accuracy"] > 0.3


def test_a_model_with_nothing_to_train_ends_the_run_before_it_begins(config, monkeypatch, tmp_path):
    monkeypatch.setitem(MODELS, "still", lambda: FrozenBackbone().requires_grad_(False))

    with pytest.raises(ConfigError, match="there is nothing to train"):
        run_app({**config, "model": "still"})

    assert not list((tmp_path).glob("**/metrics.jsonl"))
