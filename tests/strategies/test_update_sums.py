"""A sum of updates that was formed elsewhere enters by the collector, and counts as its updates."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import AggregationError, Aggregator, DeltaFedAvg
from strategies.aggregation.base import as_aggregator
from strategies.aggregation.fednova import NormalisedMean
from strategies.aggregation.krum import Krum
from strategies.aggregation.robust import coordinate_median
from strategies.aggregation.weighted_mean import WeightedSum
from strategies.core.client_update import Arrays, ClientUpdate, UpdateSum
from strategies.core.npy import GlobalWeights
from tests.support.strategy_round import aggregate, arrays, in_a_round, reply

COUNTS = st.lists(st.integers(1, 100_000), min_size=1, max_size=8)
VALUES = st.floats(-1e6, 1e6, width=32)


def summed(strategy: DeltaFedAvg, mean: Arrays, *examples: int):
    """A round whose updates come as one sum."""
    results = [reply(str(i), arrays([0, 0], 0), n, loss=i)[:2] for i, n in enumerate(examples)]
    strategy.receive_sum(1, results, mean)
    return aggregate(strategy)


@given(counts=COUNTS, value=VALUES)
def test_a_sum_gives_the_bits_of_equal_updates(counts: list[int], value: float):
    mean = arrays([value, -value], value / 3)

    new, metrics = summed(in_a_round(), mean, *counts)
    each = [reply(str(i), mean, n, loss=i) for i, n in enumerate(counts)]
    expected, expected_metrics = aggregate(in_a_round(), *each)

    assert [a.tobytes() for a in new] == [a.tobytes() for a in expected]
    assert metrics == expected_metrics


@given(counts=COUNTS, value=VALUES, other=VALUES)
def test_a_sum_and_an_update_are_averaged_by_their_examples(counts, value, other):
    total = WeightedSum()
    total.add_sum(UpdateSum(tuple(map(str, range(len(counts)))), sum(counts), arrays([value], 0)))
    total.add(ClientUpdate("x", arrays([other], 0), 7))

    (mean, _) = total.result()
    by_hand = (sum(counts) * float(np.float32(value)) + 7 * float(np.float32(other))) / (
        sum(counts) + 7
    )
    assert mean[0] == np.float32(by_hand)


@pytest.mark.parametrize(
    ("mean", "examples", "reason"),
    [
        (arrays([1, np.nan], 0), (1, 2), "not finite"),
        (arrays([1, 2, 3], 0), (1, 2), "shape"),
        (arrays([1, 2], 0), (), "nobody is in it"),
    ],
)
def test_a_sum_that_cannot_be_used_is_refused_and_changes_nothing(mean, examples, reason):
    strategy = in_a_round()
    with pytest.raises(AggregationError, match=reason):
        summed(strategy, mean, *examples)
    assert aggregate(strategy) == (None, {})


@pytest.mark.parametrize("aggregator", [coordinate_median, Krum()])
def test_an_aggregator_that_sees_every_update_takes_no_sum(aggregator):
    with pytest.raises(AggregationError, match="has to see every update"):
        summed(in_a_round(aggregator=aggregator), arrays([1, 2], 3), 1, 2)


def test_who_needs_the_steps_of_each_takes_no_sum():
    with pytest.raises(AggregationError, match="local steps"):
        summed(in_a_round(aggregator=NormalisedMean()), arrays([1, 2], 3), 1, 2)


def test_a_function_is_an_aggregator_with_the_defaults():
    part = as_aggregator(coordinate_median)

    assert (part.needs_local_steps, part.least_updates) == (False, 1)
    assert part.state() == {}
    assert part.privacy_spent() is None
    assert repr(part) == "coordinate_median"
    assert as_aggregator(part) is part
    with pytest.raises(ValueError, match="remembers nothing"):
        part.load_state({"m": np.zeros(1)})


def test_what_offers_more_than_a_function_has_to_be_an_aggregator():
    class Loose:
        least_updates = 3

        def __call__(self, updates):
            return updates[0].delta

    with pytest.raises(TypeError, match=r"least_updates.*derived from strategies\.Aggregator"):
        DeltaFedAvg(aggregator=Loose())


def test_what_an_aggregator_declares_counts():
    @dataclass(frozen=True)
    class Declared(Aggregator):
        needs_local_steps = True

        def __call__(self, updates):
            return updates[0].delta

    strategy = in_a_round(aggregator=Declared())
    assert aggregate(strategy, reply("0", arrays([1, 2], 3))) == (None, {})
    assert "local steps" in strategy.rejections[0].reason


def test_weights_are_encoded_once_and_decoded_without_a_copy():
    weights = GlobalWeights(arrays([1, 2], 3))
    assert weights.parameters is weights.parameters

    again = GlobalWeights.decode(weights.parameters)
    assert again.parameters is weights.parameters
    assert [a.tolist() for a in again.arrays] == [[1, 2], 3]
