"""Models of float64: sums in more digits than float64 has, and distances beyond its range."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from strategies.aggregation.base import AggregatorFunction
from strategies.aggregation.fednova import NormalisedMean
from strategies.aggregation.geometric_median import GeometricMedian
from strategies.aggregation.krum import Krum, MultiKrum
from strategies.aggregation.robust import NormClippedMean, TrimmedMean, coordinate_median
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.contract import aggregators as laws
from strategies.core.client_update import ClientUpdate
from strategies.core.vectors import euclidean_norm

TOP = float(np.finfo(np.float64).max)
TINY = 5e-324
AGGREGATORS: dict[str, AggregatorFunction] = {
    "weighted_mean": weighted_mean,
    "median": coordinate_median,
    "trimmed_mean": TrimmedMean(0.3),
    "krum": Krum(0),
    "multi_krum": MultiKrum(0, num_selected=2),
    "geometric_median": GeometricMedian(),
    "norm_clipped_mean": NormClippedMean(),
    "fednova": NormalisedMean(),
}
every_aggregator = pytest.mark.parametrize("aggregator", AGGREGATORS.values(), ids=AGGREGATORS)
any_values = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(1, 2**60)


def update(name: object, *values: float, num_examples: int = 1, steps: float = 1.0) -> ClientUpdate:
    return ClientUpdate(str(name), [np.array(values, np.float64)], num_examples, steps)


@every_aggregator
@settings(max_examples=50)
@given(values=st.lists(any_values, min_size=1, max_size=4), numbers=st.lists(counts, min_size=3))
@example(values=[TOP, -TOP, TINY, 0.1], numbers=[3, 7, 1])
@example(values=[0.1, -1e200, 1e-200, 1 / 3], numbers=[1] * 9)
def test_identical_updates_give_themselves_to_the_bit(
    aggregator: AggregatorFunction, values: list[float], numbers: list[int]
):
    laws.gives_identical_updates_back(aggregator, [np.array(values, np.float64)], numbers)


@given(st.lists(st.tuples(any_values, counts), min_size=1, max_size=30))
@example([(TOP, 2**60), (TOP, 1)])
@example([(1.0, 2**40 + 1), (-1.0, 2**40 + 1), (2.0**-200, 3)])
@example([(TINY, 1), (TINY, 2)])
def test_the_weighted_mean_is_the_nearest_float64(values: list[tuple[float, int]]):
    n = sum(count for _, count in values)
    exact = sum((Fraction(value) * count for value, count in values), Fraction(0)) / n
    total_size = sum((abs(Fraction(value)) * count for value, count in values), Fraction(0))

    (result,) = weighted_mean(
        [update(i, value, num_examples=count) for i, (value, count) in enumerate(values)]
    )

    size = min(abs(float(result[0])), TOP / 2)  # the spacing after the largest is infinite
    half_an_ulp = Fraction(float(np.spacing(size))) / 2
    if size == TOP / 2:
        half_an_ulp *= 2
    assert abs(Fraction(float(result[0])) - exact) <= half_an_ulp + total_size / n / 2**95


def test_a_mean_near_the_largest_number_does_not_overflow():
    (mean,) = weighted_mean([update("a", TOP, 1e-300), update("b", TOP / 2, 3e-300)])

    np.testing.assert_array_equal(mean, [TOP * 0.75, 2e-300])


@pytest.mark.parametrize("aggregator", [coordinate_median, TrimmedMean(0.25)])
def test_the_middle_of_large_numbers_does_not_overflow(aggregator: AggregatorFunction):
    (middle,) = aggregator([update(i, v) for i, v in enumerate([-TOP, TOP / 2, TOP, TOP])])

    np.testing.assert_array_equal(middle, [TOP * 0.75])


@pytest.mark.parametrize("scale", [1e-220, 1e-160, 1.0, 1e160, 1e307])
def test_krum_picks_the_same_update_whatever_the_scale(scale: float):
    # Distances of 4, of 2 neighbours each: 0 has 1 + 2, 1 has 1 + 1, 2 has 1 + 2, 3 has 6 + 7.
    updates = [update(i, v * scale, 0.0) for i, v in enumerate([1.0, 2.0, 3.0, 9.0])]

    np.testing.assert_array_equal(Krum(0)(updates)[0], updates[1].delta[0])
    best_three = MultiKrum(0, num_selected=3)(updates)[0]
    np.testing.assert_allclose(best_three, [2.0 * scale, 0.0], rtol=1e-15)


def test_one_liar_far_out_does_not_blind_krum_for_the_others():
    honest = [update(i, v * 1e-200) for i, v in enumerate([1.0, 2.0, 3.0, 9.0])]

    (picked,) = Krum(1)([*honest, update("liar", 1e300)])

    np.testing.assert_array_equal(picked, [2e-200])


@pytest.mark.parametrize("scale", [1e-220, 1e-160, 1.0, 1e160, 1e307])
def test_the_geometric_median_moves_with_the_scale(scale: float):
    corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.2, 0.3)]  # the last is the median
    updates = [update(i, x * scale, y * scale) for i, (x, y) in enumerate(corners)]
    liar = update("liar", 1e300, 0.0)

    (median,) = GeometricMedian()(updates)
    (with_liar,) = GeometricMedian()([*updates, liar])

    np.testing.assert_allclose(median / scale, [0.2, 0.3], rtol=1e-6)
    assert (np.abs(with_liar) <= scale).all() or scale > 1e300


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_norms_are_those_of_numbers_of_any_size(scale: float):
    assert euclidean_norm([np.array([3.0, 0.0]) * scale, np.array(4.0) * scale]) == pytest.approx(
        5 * scale
    )
    mean = NormClippedMean(max_norm=scale)([update("a", 3 * scale, 4 * scale)])[0]
    np.testing.assert_allclose(mean, [0.6 * scale, 0.8 * scale])


def test_norms_at_the_ends():
    assert euclidean_norm([]) == euclidean_norm([np.zeros(3), np.zeros((0, 2))]) == 0
    assert euclidean_norm([np.array([TINY])]) == TINY
    assert euclidean_norm([np.array([TOP])]) == TOP
    assert euclidean_norm([np.array([np.inf])]) == np.inf
    assert np.isnan(euclidean_norm([np.array([np.nan])]))


@every_aggregator
def test_the_laws_hold(aggregator: AggregatorFunction):
    updates = [
        ClientUpdate(u.participant, [a.astype(np.float64) for a in u.delta], u.num_examples, 1.0)
        for u in laws.example_updates(np.random.default_rng(0))
    ]

    laws.has_the_form_of_the_updates(aggregator, updates)
    laws.leaves_the_updates_alone(aggregator, updates)
    laws.is_repeatable(aggregator, updates)
    laws.does_not_see_the_order(aggregator, updates, list(reversed(range(len(updates)))))
