"""The federated run against the yardstick, `scripts/harness/reference.py`.

It is compared where that proves something on any processor:

- in float64, the model of the experiment: see `tests.support.exact_cnn`;
- in float32, softmax regression: it has no branches, and steps of gradient descent on a smooth
  convex loss take two points no further apart, so errors add up and are not amplified;
- in float32, the model of the experiment: as a share of the whole update, which leaves room
  for branches.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from flwr.app import Context, RecordDict
from safetensors.numpy import load_file
from torch import Tensor, nn

from fl_app.client_app import app as client_app
from fl_app.data.datasets import load_dataset
from fl_app.server_app import app as server_app
from fl_app.tasks.images.simple_cnn import SimpleCNN
from fl_app.tasks.registry import MODELS, build_model, register_model
from fl_app.training.local.local_training import cpu_threads
from scripts.harness.in_process_grid import InProcessGrid
from scripts.harness.reference import TextbookCNN, as_shard, reference_rounds
from tests.support.exact_cnn import ExactCNN

pytestmark = pytest.mark.slow

Weights = dict[str, np.ndarray]


class SoftmaxRegression(nn.Module):
    image_shape = (1, 28, 28)
    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.layer(images.flatten(1)), dim=1)


@pytest.fixture(autouse=True)
def models(no_pictures: None) -> Iterator[None]:
    """The models of this file, registered for its tests alone."""
    own = {"exact-cnn": ExactCNN, "softmax-regression": SoftmaxRegression}
    for name, model in own.items():
        register_model(name)(model)
    yield
    for name in own:
        del MODELS[name]


def norm(a: Weights, b: Weights, order: float = 2) -> float:
    """A norm of the difference of two models, as vectors."""
    differences = [np.ravel(a[name] - b[name]).astype(np.float64) for name in a]
    return float(np.linalg.norm(np.concatenate(differences), order))


def federated_weights(config: dict[str, Any], order: int = 0) -> Weights:
    """Run the whole application over a local grid and load the model that it saved."""
    grid = InProcessGrid(client_app, config, config["num-participants"], order=order)
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=config)
    before = set(Path(config["output-dir"]).glob("*"))
    server_app(grid, context)
    (directory,) = set(Path(config["output-dir"]).glob("*")) - before
    assert json.loads((directory / "summary.json").read_text())["failures"] == 0
    return load_file(directory / "model.safetensors")


def reference_weights(config: dict[str, Any], seed: int | None = None) -> Weights:
    """Run the plain loop; another seed gives it other batches."""
    train = load_dataset("digits", Path(config["data-dir"])).train
    n, participants = len(train), config["num-participants"]
    edges = [i * n // participants for i in range(participants + 1)]
    ranges = [slice(a, b) for a, b in pairwise(edges)]
    model = build_model(config["model"], config["seed"])
    if type(model) is SimpleCNN:
        model = TextbookCNN.with_weights_of(model)
    with cpu_threads(1):  # like the participants': kernels sum in another order with more
        *_, last = reference_rounds(
            model,
            [as_shard(train.images[r], train.labels[r]) for r in ranges],
            [r.stop - r.start for r in ranges],
            rounds=config["num-server-rounds"],
            local_epochs=config["local-epochs"],
            learning_rate=config["learning-rate"],
            seed=config["seed"] if seed is None else seed,
        )
    return {name: tensor.numpy() for name, tensor in last.items()}


def test_a_federated_run_is_the_function_that_the_plain_loop_computes(
    run_config: dict[str, Any],
) -> None:
    config = run_config | {"num-server-rounds": 4, "model": "exact-cnn"}

    federated, reference = federated_weights(config), reference_weights(config)

    assert federated["fc1.weight"].dtype == np.float64
    # Weights are near 0.05, where neighbouring float64 are 7e-18 apart: 60 steps of round-off
    # are 4e-16, and the rest is room for amplification.
    assert norm(federated, reference, np.inf) < 1e-12
    other_batches = reference_weights(config, seed=config["seed"] + 1)
    assert norm(federated, other_batches, np.inf) > 1e-5


def test_in_float32_a_model_without_branches_agrees_to_the_sum_of_its_rounding_errors(
    run_config: dict[str, Any],
) -> None:
    config = run_config | {
        "num-server-rounds": 4,
        "model": "softmax-regression",
        # The Hessian's largest eigenvalue is at most half of that of mean(x x^T), which is 558
        # in the worst batch; with less than 2 / 279 a step takes no two points further apart.
        "learning-rate": 0.005,
    }

    federated, reference = federated_weights(config), reference_weights(config)

    assert federated["layer.weight"].dtype == np.float32
    assert max(np.abs(w).max() for w in federated.values()) < 0.25  # so one rounding is 2^-27
    # 60 steps, each with the rounding of the weights and about as much from the gradient, in
    # both programs: added up as if all fell the same way.
    bound = 60 * 2 * 2 * 2**-27 * np.sqrt(7850)
    assert norm(federated, reference) < bound
    other_batches = reference_weights(config, seed=config["seed"] + 1)
    assert norm(federated, other_batches) > 10 * bound


def test_in_float32_the_model_of_the_experiment_takes_the_same_way(
    run_config: dict[str, Any],
) -> None:
    config = run_config | {"num-server-rounds": 1}

    federated, reference = federated_weights(config), reference_weights(config)

    initial = build_model(config["model"], config["seed"]).state_dict()
    way = norm(reference, {name: tensor.numpy() for name, tensor in initial.items()})
    assert norm(federated, reference) < 0.005 * way
    other_batches = reference_weights(config, seed=config["seed"] + 1)
    assert norm(federated, other_batches) > 0.02 * way


def test_the_order_of_arrival_changes_no_bit(run_config: dict[str, Any]) -> None:
    first, second = (federated_weights(run_config, order=order) for order in (1, 2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
