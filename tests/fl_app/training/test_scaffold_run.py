"""A whole run with SCAFFOLD against its paper, written down once more in float64."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from safetensors.numpy import load_file
from torch import Tensor

from fl_app.core.run_config import RunConfig
from fl_app.data.datasets import load_dataset
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.client_data import local_data
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import MODELS, build_model
from tests.support.linear_model import Linear
from tests.support.local_run import run_app, summary_of

ROUNDS, STEPS, RATE, PARTICIPANTS = 4, 3, 0.1, 3


def gradient(weights: list[Tensor], examples: ImageExamples) -> list[Tensor]:
    weight, bias = (w.clone().requires_grad_() for w in weights)
    outputs = examples.images.double().flatten(1) @ weight.T + bias
    loss = F.nll_loss(F.log_softmax(outputs, dim=1), examples.labels)
    return list(torch.autograd.grad(loss, [weight, bias]))


def scaffold(start: list[Tensor], parts: list[ImageExamples]) -> list[Tensor]:
    """Algorithm 1 of the paper, option II, with global step size 1 and equal shares."""
    x, n = start, len(parts)
    c = [torch.zeros_like(w) for w in x]
    own = [[torch.zeros_like(w) for w in x] for _ in parts]
    for _ in range(ROUNDS):
        reached, moved = [], []
        for i, part in enumerate(parts):
            y = x
            for _ in range(STEPS):
                g = gradient(y, part)
                y = [y_k - RATE * (g[k] - own[i][k] + c[k]) for k, y_k in enumerate(y)]
            fresh = [own[i][k] - c[k] + (x[k] - y[k]) / (STEPS * RATE) for k in range(len(x))]
            moved.append([fresh[k] - own[i][k] for k in range(len(x))])
            own[i] = fresh
            reached.append(y)
        shares = [len(part) / sum(map(len, parts)) for part in parts]
        x = [
            sum((s * y[k] for s, y in zip(shares, reached, strict=True)), 0 * x[k]) for k in (0, 1)
        ]
        c = [c[k] + sum((m[k] for m in moved), 0 * c[k]) / n for k in (0, 1)]
    return x


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("partitioner", ["contiguous", "pathological"])
def test_the_run_is_the_papers_algorithm(run_config, monkeypatch, partitioner):
    monkeypatch.setitem(MODELS, "linear", Linear)
    config: dict[str, Any] = run_config | {
        "model": "linear",
        "tensorboard": False,
        "num-participants": PARTICIPANTS,
        "num-server-rounds": ROUNDS,
        "partitioner": partitioner,
        "classes-per-participant": 4,
        "local-epochs": STEPS,
        "batch-size": 2000,  # everybody's data at once: an epoch is one step
        "learning-rate": RATE,
        "scaffold": True,
    }
    load_dataset("digits", Path(config["data-dir"]))
    settled = RunConfig.from_run_config(config)
    parts = []
    for i in range(PARTICIPANTS):
        node = {"partition-id": i, "num-partitions": PARTICIPANTS}
        part = local_data(node, settled, "digits").train
        assert isinstance(part, ImageExamples)
        parts.append(part)
    start = [torch.from_numpy(w).double() for w in get_weights(build_model("linear", 42))]

    expected = scaffold(start, parts)

    saved = load_file(run_app(config) / "model.safetensors")
    for name, array in zip(("fc.weight", "fc.bias"), expected, strict=True):
        np.testing.assert_allclose(saved[name], array.numpy(), rtol=0, atol=2e-6)


@pytest.fixture
def small(run_config, monkeypatch, no_pictures) -> dict[str, Any]:
    monkeypatch.setitem(MODELS, "linear", Linear)
    config: dict[str, Any] = run_config | {
        "model": "linear",
        "tensorboard": False,
        "num-participants": PARTICIPANTS,
        "scaffold": True,
    }
    return config


def control_of(directory: Path) -> list[Any]:
    saved = load_file(directory / "checkpoint.safetensors")
    return [saved[key] for key in sorted(saved) if key.startswith("strategy/control-variate/")]


def own_controls(directory: Path) -> list[list[Any]]:
    """Every participant's c_i after the latest round."""
    latest = [
        max((directory / "participants" / str(i)).iterdir(), key=lambda path: path.name)
        for i in range(PARTICIPANTS)
    ]
    named = [load_file(path) for path in latest]
    return [[n[key] for key in sorted(n) if key.startswith("control/")] for n in named]


def assert_the_mean(directory: Path) -> None:
    c = control_of(directory)
    assert any(array.any() for array in c)
    for array, *own in zip(c, *own_controls(directory), strict=True):
        np.testing.assert_allclose(array, np.mean(own, axis=0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("reaches_0_in", "rounds"), [(2, 5), (3, 3)])
def test_a_learning_rate_that_reaches_0_leaves_the_control_variates_as_they_are(
    small, reaches_0_in, rounds
):
    config = small | {"lr-schedule": f"cosine(rounds={reaches_0_in})"}

    ended, before = (
        run_app(config | {"num-server-rounds": number}) for number in (rounds, reaches_0_in - 1)
    )

    assert summary_of(ended)["reason"] == f"all {rounds} rounds are done"
    for array, expected in zip(control_of(ended), control_of(before), strict=True):
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, expected)
    assert_the_mean(ended)


def test_after_a_participant_lost_its_memory_c_is_the_mean_of_what_they_have_again(small):
    half = run_app(small | {"num-server-rounds": 2})
    assert_the_mean(half)
    shutil.rmtree(half / "participants" / "1")

    anew = run_app(small | {"num-server-rounds": 3, "resume": str(half)})
    assert not any(array.any() for array in control_of(anew))

    assert_the_mean(run_app(small | {"num-server-rounds": 5, "resume": str(half)}))
