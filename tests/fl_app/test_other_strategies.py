"""The client app under strategies and workflows, this project's and Flower's."""

from typing import Any

import numpy as np
import pytest
from flwr.common import NDArrays, ndarrays_to_parameters
from flwr.server import ServerConfig
from flwr.server.compat import LegacyContext
from flwr.server.strategy import FedAdam, FedAvg, FedMedian, Krum
from flwr.server.workflow import DefaultWorkflow

from fl_app.client_app import app
from fl_app.rounds.round_loop import FederatedWorkflow
from fl_app.rounds.settings import WorkflowSettings
from scripts.harness.in_process_grid import InProcessGrid
from strategies import DeltaFedAvg
from tests.fl_app.linear_client import bits, initial, node


def run(
    workflow: Any, strategy_class: type[FedAvg], config: dict[str, Any], order: int = 0, **more: Any
) -> list[NDArrays]:
    """Run two rounds; the global weights after each, the initial ones first."""
    seen: list[NDArrays] = []

    def see(server_round: int, weights: NDArrays, _config: Any) -> tuple[float, dict[str, Any]]:
        seen.append([np.array(array) for array in weights])
        return 0.0, {}

    strategy = strategy_class(
        initial_parameters=ndarrays_to_parameters(initial(config)),
        evaluate_fn=see,
        fit_metrics_aggregation_fn=lambda metrics: {},
        evaluate_metrics_aggregation_fn=lambda metrics: {},
        **more,
    )
    context = LegacyContext(node(config), config=ServerConfig(num_rounds=2), strategy=strategy)
    workflow(InProcessGrid(app, config, 3, order=order), context)
    return seen


def ours() -> FederatedWorkflow:
    return FederatedWorkflow([], WorkflowSettings(num_participants=3, quorum_deadline=30.0))


flowers_strategies = pytest.mark.parametrize("strategy_class", [FedAvg, FedAdam, FedMedian, Krum])


@flowers_strategies
@pytest.mark.parametrize("workflow", [ours, DefaultWorkflow])
def test_flowers_own_strategies_are_served(config, workflow, strategy_class):
    start, first, second = run(workflow(), strategy_class, config)

    for before, after in ((start, first), (first, second)):
        for old, new in zip(before, after, strict=True):
            assert new.shape == old.shape
            assert np.isfinite(new).all()
            assert (new != old).any()


@pytest.mark.parametrize("workflow", [ours, DefaultWorkflow])
def test_deltas_and_averaged_weights_lead_to_the_same_model(config, workflow):
    by_delta = run(ours(), DeltaFedAvg, config)[-1]
    by_weights = run(workflow(), FedAvg, config)[-1]

    for ours_, theirs in zip(by_delta, by_weights, strict=True):
        np.testing.assert_allclose(ours_, theirs, rtol=0, atol=1e-6)


def test_delta_fedavg_runs_under_flowers_own_workflow(config):
    by_default = run(DefaultWorkflow(), DeltaFedAvg, config)[-1]
    by_ours = run(ours(), DeltaFedAvg, config)[-1]

    for one, other in zip(by_default, by_ours, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-7)


def test_the_order_of_arrival_does_not_change_a_bit(config):
    first, second = (run(ours(), DeltaFedAvg, config, order=order)[-1] for order in (1, 2))

    assert bits(first) == bits(second)
