"""What a reply holds: a delta, or weights, of which the server makes one."""

from typing import Any

import numpy as np
import pytest
from flwr.common import FitRes, parameters_to_ndarrays
from flwr.server.strategy import FedAvg

from strategies import DeltaFedAvg, weighted_mean
from strategies.aggregation.krum import Krum
from strategies.aggregation.robust import coordinate_median
from strategies.compression.codec import Float16
from tests.strategies.privacy.private_mean import private_mean
from tests.support.strategy_round import aggregate, arrays, in_a_round, reply


def test_replies_marked_as_weights_are_turned_into_deltas():
    # weights ([3, 2], 10) are a delta of ([2, 0], 0); with ([0, 4], 0): (3 * a + b) / 4
    results = [
        reply("0", arrays([3, 2], 10), 3, update="weights"),
        reply("1", arrays([0, 4], 0), 1),
    ]

    new, _ = aggregate(in_a_round(), *results)

    np.testing.assert_array_equal(new[0], [2.5, 3.0])
    np.testing.assert_array_equal(new[1], 10.0)


def unmarked(name: str, values: list[np.ndarray], num_examples: int = 1, **metrics: Any):
    proxy, result = reply(name, values, num_examples)
    return proxy, FitRes(result.status, result.parameters, num_examples, metrics)


def test_a_reply_that_does_not_say_what_it_holds_is_a_stock_clients_and_holds_weights():
    # w = 1; a client written for FedAvg returns 3, and the new weight is 3.
    one, three = ([np.array([value], np.float32)] for value in (1, 3))

    new, _ = aggregate(in_a_round(one), unmarked("0", three))
    by_fedavg, _ = FedAvg().aggregate_fit(1, [unmarked("0", three)], [])

    np.testing.assert_array_equal(new[0], [3.0])
    assert by_fedavg is not None
    np.testing.assert_array_equal(parameters_to_ndarrays(by_fedavg)[0], [3.0])


@pytest.mark.parametrize("aggregator", [coordinate_median, weighted_mean, Krum(0)])
def test_every_aggregator_takes_weights_of_stock_clients(aggregator):
    replies = [unmarked(name, arrays([3, 2], 10)) for name in "012"]

    new, _ = aggregate(in_a_round(aggregator=aggregator), *replies)

    np.testing.assert_array_equal(new[0], [3.0, 2.0])


def refusals(strategy: DeltaFedAvg, *replies: Any) -> dict[str, str]:
    aggregate(strategy, *replies)
    return {error.participant: error.reason for error in strategy.rejections}


def test_where_deltas_are_encoded_a_reply_that_does_not_say_is_refused_by_name():
    payload = Float16().encode(arrays([1, 1], 1), np.random.default_rng(0))
    strategy = in_a_round(codec=Float16())

    refused = refusals(
        strategy,
        unmarked("0", payload),
        unmarked("1", arrays([3, 2], 10)),
        reply("2", payload),
        reply("3", arrays([3, 2], 10), update="weights"),
    )

    assert refused.keys() == {"0", "1"}
    assert "does not say whether it holds weights or a delta" in refused["0"]


def test_a_reply_that_says_it_holds_something_else_is_refused_by_name():
    refused = refusals(
        in_a_round(),
        reply("0", arrays([1, 1], 1)),
        reply("1", arrays([1, 1], 1), update="gradient"),
    )

    assert refused == {
        "1": "it says that it holds 'gradient', which is neither 'delta' nor 'weights'"
    }


def test_where_deltas_bring_their_noise_weights_are_refused_by_name():
    mean = private_mean(participants_add_noise=True)
    weights = arrays([3, 2], 10)

    refused = refusals(
        in_a_round(aggregator=mean), unmarked("0", weights), reply("1", weights, update="weights")
    )

    assert refused.keys() == {"0", "1"}
    assert "a delta with its noise is needed" in refused["0"]


def test_where_the_server_adds_the_noise_and_clips_weights_will_do():
    strategy = in_a_round(aggregator=private_mean(num_planned=1))

    assert refusals(strategy, unmarked("0", arrays([3, 2], 10))) == {}


@pytest.mark.parametrize("marks", [{}, {"update": "weights"}])
def test_without_any_configure_fit_nothing_is_subtracted_from_any_reply(marks):
    results = [unmarked(str(i), arrays([i, 2], 4), **marks) for i in (1, 3)]

    new, _ = aggregate(DeltaFedAvg(), *results)

    np.testing.assert_array_equal(new[0], [2.0, 2.0])


def test_without_any_configure_fit_replies_are_averaged_as_they_are():
    results = [reply("0", arrays([1, 2], 0)), reply("1", arrays([3, -2], 4), 3)]

    new, _ = aggregate(DeltaFedAvg(), *results)

    np.testing.assert_array_equal(new[0], [2.5, -1.0])


def test_without_any_configure_fit_the_first_valid_reply_sets_the_form():
    strategy = DeltaFedAvg()
    results = [
        reply("2", [np.ones(3, np.float32)]),
        reply("1", arrays([1, 2], 3)),
        reply("0", arrays([np.nan, 2], 3)),
    ]

    new, _ = aggregate(strategy, *results)

    np.testing.assert_array_equal(new[0], [1.0, 2.0])
    assert [error.participant for error in strategy.rejections] == ["0", "2"]
