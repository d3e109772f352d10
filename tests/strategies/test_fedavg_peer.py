"""What Flower's own tests ask of `FedAvg`, asked of `DeltaFedAvg` in its place."""

from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from flwr.common import (
    Code,
    FitRes,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.client_manager import SimpleClientManager
from flwr.server.strategy import FedAvg

from strategies import DeltaFedAvg


def fit_result(weights: list[np.ndarray], num_examples: int, **metrics: Any) -> tuple[Any, FitRes]:
    parameters = ndarrays_to_parameters(weights)
    return MagicMock(), FitRes(Status(Code.OK, "Success"), parameters, num_examples, metrics)


def random_results(dtype: type[np.floating], counts: list[int]) -> list[tuple[Any, FitRes]]:
    rng = np.random.default_rng(0)
    shapes = [(100, 64), (31, 62, 3), (10,), ()]
    return [
        fit_result([np.asarray(rng.normal(size=shape), dtype=dtype) for shape in shapes], count)
        for count in counts
    ]


def aggregated(strategy: FedAvg, results: list[tuple[Any, FitRes]]) -> list[np.ndarray]:
    parameters, _ = strategy.aggregate_fit(1, results, [])
    assert parameters is not None
    return parameters_to_ndarrays(parameters)


def assert_close(actual: list[np.ndarray], expected: list[np.ndarray], tolerance: float) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("available", [20, 19, 10, 9])
def test_all_available_clients_are_fitted_by_default(available):
    actual, _ = DeltaFedAvg().num_fit_clients(num_available_clients=available)

    assert actual == available


@pytest.mark.parametrize("available", [40, 39, 20, 19])
def test_a_twentieth_evaluates_but_no_fewer_than_two(available):
    strategy = DeltaFedAvg(fraction_evaluate=0.05)

    actual, _ = strategy.num_evaluation_clients(num_available_clients=available)

    assert actual == 2


@pytest.mark.parametrize("available", [1, 2, 7, 100])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"fraction_fit": 0.1, "fraction_evaluate": 0.3},
        {"min_fit_clients": 4, "min_evaluate_clients": 3, "min_available_clients": 5},
    ],
)
def test_numbers_of_clients_equal_fedavgs(available, arguments):
    ours, theirs = DeltaFedAvg(**arguments), FedAvg(**arguments)

    assert ours.num_fit_clients(available) == theirs.num_fit_clients(available)
    assert ours.num_evaluation_clients(available) == theirs.num_evaluation_clients(available)


@pytest.mark.parametrize("inplace", [True, False])
def test_aggregation_equals_fedavgs_both_ways(inplace):
    rng = np.random.default_rng(1)
    results = [
        fit_result([rng.normal(size=(100, 64)), rng.normal(size=(314, 62, 3))], count)
        for count in (1, 5)
    ]

    actual = aggregated(DeltaFedAvg(inplace=inplace), results)

    assert_close(actual, aggregated(FedAvg(inplace=inplace), results), 1e-12)


@pytest.mark.parametrize("counts", [[1], [6000] * 10, [1, 60_000], [3, 1, 4, 1, 5, 9, 2, 6]])
def test_float32_weights_without_a_configure_fit_are_averaged_like_fedavgs(counts):
    results = random_results(np.float32, counts)

    assert_close(aggregated(DeltaFedAvg(), results), aggregated(FedAvg(), results), 1e-6)


@pytest.mark.parametrize("mark", ["delta", "weights", None])
@pytest.mark.parametrize("counts", [[6000] * 10, [3, 1, 4, 1, 5, 9, 2, 6]])
def test_a_round_gives_fedavgs_weights(counts, mark):
    """Deltas, weights, and what a stock client returns lead where averaged weights lead."""
    results = random_results(np.float32, counts)
    start = parameters_to_ndarrays(random_results(np.float32, [1])[0][1].parameters)
    expected = aggregated(FedAvg(), results)
    strategy = DeltaFedAvg(min_fit_clients=1, min_available_clients=1)
    manager = SimpleClientManager()
    manager.register(MagicMock(cid="0", properties={}))

    strategy.configure_fit(1, ndarrays_to_parameters(start), manager)
    replies = []
    for _, result in results:
        weights = parameters_to_ndarrays(result.parameters)
        marks = {} if mark is None else {"update": mark}
        if mark == "delta":
            weights = [w_i - w_t for w_i, w_t in zip(weights, start, strict=True)]
        replies.append(fit_result(weights, result.num_examples, **marks))

    assert_close(aggregated(strategy, replies), expected, 2e-6)


def test_like_fedavg_initial_parameters_are_handed_out_once():
    parameters = ndarrays_to_parameters([np.zeros(2)])
    strategy = DeltaFedAvg(initial_parameters=parameters)

    assert strategy.initialize_parameters(MagicMock()) is parameters
    assert strategy.initialize_parameters(MagicMock()) is None


def test_like_fedavg_no_results_and_unaccepted_failures_give_nothing():
    results = random_results(np.float32, [1, 2])

    assert DeltaFedAvg().aggregate_fit(1, [], []) == (None, {})
    unaccepted = DeltaFedAvg(accept_failures=False)
    assert unaccepted.aggregate_fit(1, results, [Exception()]) == (None, {})


def test_like_fedavg_fit_metrics_go_through_the_users_function():
    seen = []

    def aggregation(metrics):
        seen.extend(metrics)
        return {"total": sum(n * m["x"] for n, m in metrics)}

    results = [fit_result([np.ones(2)], 2, x=3), fit_result([np.ones(2)], 5, x=7)]

    _, metrics = DeltaFedAvg(fit_metrics_aggregation_fn=aggregation).aggregate_fit(1, results, [])

    assert metrics == {"total": 41}
    assert sorted(n for n, _ in seen) == [2, 5]


def test_like_fedavg_zero_fraction_turns_evaluation_off():
    strategy = DeltaFedAvg(fraction_evaluate=0.0)

    assert strategy.configure_evaluate(1, ndarrays_to_parameters([]), SimpleClientManager()) == []


def test_like_fedavg_the_server_evaluates_with_the_users_function():
    def evaluate(server_round, weights, config):
        return float(weights[0].sum()), {"round": server_round}

    parameters = ndarrays_to_parameters([np.ones(3)])

    assert DeltaFedAvg(evaluate_fn=evaluate).evaluate(4, parameters) == (3.0, {"round": 4})
    assert DeltaFedAvg().evaluate(4, parameters) is None
