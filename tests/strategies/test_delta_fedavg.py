import inspect
from random import Random
from typing import Any

import numpy as np
import pytest
from flwr.common import ndarrays_to_parameters
from flwr.server.strategy import FedAvg
from hypothesis import given
from hypothesis import strategies as st

from strategies import AggregationError, DeltaFedAvg
from tests.support.strategy_round import (
    TOP,
    W_T,
    aggregate,
    arrays,
    in_a_round,
    manager_of,
    participants,
    reply,
)

# A drop-in for FedAvg


def test_every_argument_of_fedavg_is_taken_and_kept():
    def function(*_args: Any) -> None:
        return None

    values: dict[str, Any] = {
        "fraction_fit": 0.5,
        "fraction_evaluate": 0.25,
        "min_fit_clients": 3,
        "min_evaluate_clients": 4,
        "min_available_clients": 5,
        "evaluate_fn": function,
        "on_fit_config_fn": function,
        "on_evaluate_config_fn": function,
        "accept_failures": False,
        "initial_parameters": ndarrays_to_parameters(W_T),
        "fit_metrics_aggregation_fn": function,
        "evaluate_metrics_aggregation_fn": function,
        "inplace": False,
    }
    assert set(values) == set(inspect.signature(FedAvg.__init__).parameters) - {"self"}

    strategy = DeltaFedAvg(**values)

    assert isinstance(strategy, FedAvg)
    assert {name: getattr(strategy, name) for name in values} == values


def test_an_argument_that_fedavg_does_not_know_is_refused():
    with pytest.raises(TypeError, match="learning_rate"):
        DeltaFedAvg(learning_rate=0.1)


def test_the_method_signatures_keep_flowers_names():
    for name in ("configure_fit", "aggregate_fit", "aggregate_evaluate"):
        ours = inspect.signature(getattr(DeltaFedAvg, name)).parameters
        assert list(ours) == list(inspect.signature(getattr(FedAvg, name)).parameters)


def test_its_repr_says_what_it_is():
    assert repr(DeltaFedAvg()) == "DeltaFedAvg(aggregator=weighted_mean, accept_failures=True)"


# Steps 3 and 4


def test_new_weights_are_the_old_ones_plus_the_weighted_delta():
    # w_t = ([1, 2], 10); delta = (1 * a + 3 * b) / 4 = ([2.5, -1], 3)
    results = [reply("0", arrays([1, 2], 0)), reply("1", arrays([3, -2], 4), 3)]

    new, _ = aggregate(in_a_round(), *results)

    np.testing.assert_array_equal(new[0], [3.5, 1.0])
    np.testing.assert_array_equal(new[1], 13.0)
    assert [(a.dtype, a.shape) for a in new] == [(a.dtype, a.shape) for a in W_T]


def test_each_round_starts_from_the_weights_that_were_sent():
    strategy = in_a_round()
    manager = manager_of(*participants(2))
    delta = arrays([1, 1], 1)

    first, _ = aggregate(strategy, reply("0", delta))
    strategy.configure_fit(2, ndarrays_to_parameters(arrays([5, 5], 5)), manager)
    second, _ = aggregate(strategy, reply("0", delta))

    np.testing.assert_array_equal(first[0], [2.0, 3.0])
    np.testing.assert_array_equal(second[0], [6.0, 6.0])


def test_a_zero_delta_changes_nothing():
    new, _ = aggregate(in_a_round(), reply("0", arrays([0, 0], 0), 6000))

    for actual, expected in zip(new, W_T, strict=True):
        np.testing.assert_array_equal(actual, expected)


@given(st.randoms(use_true_random=False))
def test_arrival_order_does_not_change_a_bit(order: Random):
    rng = np.random.default_rng(1)
    results = [
        reply(str(i), arrays(rng.normal(size=2).tolist(), rng.normal()), int(rng.integers(1, 99)))
        for i in range(12)
    ]
    results[3][1].metrics["train-loss"] = 0.1
    results[7][1].metrics["train-loss"] = 0.7
    expected, expected_metrics = aggregate(in_a_round(), *results)
    order.shuffle(results)

    new, metrics = aggregate(in_a_round(), *results)

    assert [a.tobytes() for a in new] == [a.tobytes() for a in expected]
    assert metrics == expected_metrics


def test_the_aggregator_is_an_argument():
    new, _ = aggregate(
        in_a_round(aggregator=lambda updates: arrays([100, 100], 100)),
        reply("0", arrays([1, 1], 1)),
    )

    np.testing.assert_array_equal(new[0], [101.0, 102.0])


@pytest.mark.parametrize(
    ("delta", "fault"),
    [
        ([np.zeros(2, np.float32)], "it has 1 arrays, the model has 2"),
        ([np.zeros(2), np.zeros((), np.float32)], "array 0 has dtype float64"),
        ([np.zeros(3, np.float32), np.zeros((), np.float32)], "array 0 has shape (3,)"),
    ],
)
def test_what_an_aggregator_returns_has_the_form_of_the_model(flower_log, delta, fault):
    outcome = aggregate(in_a_round(aggregator=lambda _: delta), reply("0", arrays([1, 1], 1)))

    assert outcome == (None, {})
    assert "what the aggregator returned is no delta" in flower_log.text
    assert fault in flower_log.text


def test_updates_that_an_aggregator_cannot_use_change_nothing_and_it_is_said_why(flower_log):
    def refuse(updates):
        raise AggregationError("five are needed")

    outcome = aggregate(in_a_round(aggregator=refuse), reply("0", arrays([1, 1], 1)))

    assert outcome == (None, {})
    assert "round 1 changes nothing: five are needed" in flower_log.text


def test_metrics_are_averaged_over_the_examples_of_accepted_updates():
    # (1 * 2 + 3 * 6) / 4 = 5; the refused one says 1000.
    results = [
        reply("0", arrays([0, 0], 0), 1, loss=2.0),
        reply("1", arrays([0, 0], 0), 3, loss=6.0),
        reply("2", arrays([np.nan, 0], 0), 5, loss=1000.0),
    ]

    _, metrics = aggregate(in_a_round(), *results)

    assert metrics == {"loss": 5.0}


def test_metrics_can_be_turned_off_as_in_fedavg():
    strategy = in_a_round(fit_metrics_aggregation_fn=None)

    _, metrics = aggregate(strategy, reply("0", arrays([0, 0], 0), loss=2.0))

    assert metrics == {}


def test_a_sum_that_overflows_is_dropped(flower_log):
    strategy = in_a_round([np.full(2, TOP, np.float32), W_T[1]])

    assert aggregate(strategy, reply("0", arrays([TOP, TOP], 0))) == (None, {})
    assert "overflows" in flower_log.text
