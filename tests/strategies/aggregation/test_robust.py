"""Numbers worked out by hand, Flower's own strategies on the same input, and liars."""

from typing import Any

import numpy as np
import pytest
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy import FedMedian, FedTrimmedAvg
from flwr.server.strategy import Krum as FlowerKrum
from hypothesis import example, given
from hypothesis import strategies as st

from strategies.aggregation.base import AggregatorFunction
from strategies.aggregation.geometric_median import GeometricMedian
from strategies.aggregation.krum import Krum, MultiKrum
from strategies.aggregation.robust import NormClippedMean, TrimmedMean, coordinate_median
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate


def name_of(aggregator: AggregatorFunction) -> str:
    """The same in every process, unlike the repr of a function."""
    return getattr(aggregator, "__name__", repr(aggregator))


ROBUST: list[AggregatorFunction] = [
    coordinate_median,
    TrimmedMean(0.3),
    Krum(num_malicious=3),
    MultiKrum(num_malicious=3),
    GeometricMedian(),
    NormClippedMean(),
]


def updates_of(*values: Any, num_examples: int = 1) -> list[ClientUpdate]:
    return [
        ClientUpdate(str(i), [np.asarray(v, np.float32)], num_examples)
        for i, v in enumerate(values)
    ]


def result_of(aggregator: AggregatorFunction, updates: list[ClientUpdate]) -> Any:
    (result,) = aggregator(updates)
    return result


def test_the_median_by_hand():
    assert result_of(coordinate_median, updates_of([1, 9], [2, 8], [30, -7])).tolist() == [2, 8]
    assert result_of(coordinate_median, updates_of(1.0, 2.0, 4.0, 900.0)) == 3


def test_the_trimmed_mean_by_hand():
    values = updates_of(-100.0, 1.0, 2.0, 6.0, 100.0)

    assert result_of(TrimmedMean(0.2), values) == 3  # floor(0.2 * 5) = 1 at each end
    assert result_of(TrimmedMean(0.39), values) == 3
    assert result_of(TrimmedMean(0.4), values) == 2
    assert result_of(TrimmedMean(0.0), values) == pytest.approx(9 / 5)


def test_krum_by_hand():
    # n = 5, f = 1: 2 nearest neighbours. Scores (squared distances): 0: 1 + 4, 1: 1 + 1,
    # 2: 1 + 4, 4: 4 + 9, 50: far.
    assert result_of(Krum(1), updates_of(0.0, 1.0, 2.0, 4.0, 50.0)) == 1


def test_multi_krum_by_hand():
    # n = 6, f = 1: 3 nearest neighbours. 0: 1 + 4 + 9, 1: 1 + 1 + 4, 2: 1 + 1 + 4, 3: 1 + 4 + 9,
    # 7: 16 + 25 + 36: the best two are 1 and 2; all but the liar: 0, 1, 2, 3, 7.
    values = updates_of(0.0, 1.0, 2.0, 3.0, 7.0, 99.0)

    assert result_of(MultiKrum(1, num_selected=2), values) == 1.5
    assert result_of(MultiKrum(1), values) == pytest.approx(13 / 5)


def test_the_geometric_median_by_hand():
    # On a line it is the median. Of a triangle with a corner of 120 degrees or more it is that
    # corner; of an equilateral one the centre.
    assert result_of(GeometricMedian(), updates_of(0.0, 1.0, 50.0)) == pytest.approx(1, abs=1e-4)
    obtuse = updates_of([0, 0], [10, 1], [-10, 1])
    np.testing.assert_allclose(result_of(GeometricMedian(), obtuse), [0, 0], atol=1e-3)
    corners = updates_of([0, 1], [np.sqrt(3) / 2, -0.5], [-np.sqrt(3) / 2, -0.5])
    np.testing.assert_allclose(result_of(GeometricMedian(), corners), [0, 0], atol=1e-4)


def test_the_geometric_median_is_where_half_of_the_updates_are():
    # Half of the weight at one point holds it there, whatever the others pull.
    points = updates_of([0, 7], [0, 9], [4, 0], [4, 0])
    np.testing.assert_allclose(result_of(GeometricMedian(), points), [4, 0], atol=1e-6)


@given(st.lists(st.tuples(*[st.floats(-100, 100, width=32)] * 2), min_size=3, max_size=8))
@example([(0, 7), (0, 9), (4, 0), (4, 0)])
def test_no_point_nearby_is_a_better_geometric_median(points: list[tuple[float, float]]):
    stacked = np.array(points)

    def sum_of_distances(point: Any) -> float:
        return float(np.linalg.norm(stacked - point, axis=1).sum())

    median = result_of(GeometricMedian(max_iterations=1000, tolerance=1e-9), updates_of(*points))

    reached = sum_of_distances(median.astype(np.float64))
    spread = float(np.abs(stacked).max())
    for angle in np.linspace(0, 2 * np.pi, 12):
        nearby = median + 0.05 * spread * np.array([np.cos(angle), np.sin(angle)])
        assert reached <= sum_of_distances(nearby) * (1 + 1e-5) + 1e-5


def test_the_norm_clipped_mean_by_hand():
    # Norms 5, 10 and 1; clipped to 5: (3, 4), (3, 4), (1, 0).
    values = updates_of([3, 4], [6, 8], [1, 0])

    np.testing.assert_allclose(result_of(NormClippedMean(5.0), values), [7 / 3, 8 / 3], rtol=1e-6)
    np.testing.assert_allclose(result_of(NormClippedMean(), values), [7 / 3, 8 / 3], rtol=1e-6)


def test_the_norm_is_that_of_all_parameters_together():
    one = ClientUpdate("0", [np.array([3.0], np.float32), np.array(4.0, np.float32)], 1)

    first, second = NormClippedMean(1.0)([one])

    assert first[0] == pytest.approx(0.6)
    assert second == pytest.approx(0.8)


def test_examples_count_only_where_it_is_asked_for():
    honest, liar = updates_of(1.0, -1.0)
    liar = ClientUpdate("1", liar.delta, 1_000_000)

    assert result_of(NormClippedMean(1.0), [honest, liar]) == 0
    assert result_of(NormClippedMean(1.0, weighted=True), [honest, liar]) < -0.99


def flower(strategy: Any, updates: list[ClientUpdate]) -> Arrays:
    results: Any = [
        (None, FitRes(Status(Code.OK, ""), ndarrays_to_parameters(u.delta), u.num_examples, {}))
        for u in updates
    ]
    parameters, _ = strategy.aggregate_fit(1, results, [])
    return parameters_to_ndarrays(parameters)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (coordinate_median, FedMedian()),
        (TrimmedMean(0.2), FedTrimmedAvg(beta=0.2)),
        (Krum(2), FlowerKrum(num_malicious_clients=2)),
        (MultiKrum(2, num_selected=4), FlowerKrum(num_malicious_clients=2, num_clients_to_keep=4)),
    ],
    ids=["median", "trimmed mean", "krum", "multi-krum"],
)
def test_flowers_own_strategies_agree(ours: AggregatorFunction, theirs: Any):
    generator = np.random.default_rng(0)
    updates = [
        ClientUpdate(
            str(i), [generator.standard_normal(s).astype(np.float32) for s in ((3, 4), (5,), ())], 7
        )
        for i in range(9)
    ]

    for a, b in zip(ours(updates), flower(theirs, updates), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lie", [1e6, -1e6, 1e30])
@pytest.mark.parametrize("aggregator", ROBUST, ids=name_of)
def test_three_liars_of_ten_move_it_little_where_they_move_the_mean_anywhere(aggregator, lie):
    generator = np.random.default_rng(1)
    honest = [generator.normal(1.0, 0.1, 50).astype(np.float32) for _ in range(7)]
    liars = [np.full(50, lie, np.float32)] * 3
    updates = [ClientUpdate(str(i), [v], 10) for i, v in enumerate([*honest, *liars])]

    moved = result_of(aggregator, updates)

    assert np.linalg.norm(moved - np.mean(honest, axis=0)) < np.linalg.norm(moved) + 5
    assert np.abs(moved).max() < 3
    assert np.abs(result_of(weighted_mean, updates)).max() > 1e5


@pytest.mark.parametrize("aggregator", ROBUST, ids=name_of)
def test_a_claimed_number_of_examples_moves_nothing(aggregator):
    generator = np.random.default_rng(2)
    values = [generator.standard_normal(20).astype(np.float32) for _ in range(10)]
    plain = [ClientUpdate(str(i), [v], 10) for i, v in enumerate(values)]
    inflated = [*plain[:9], ClientUpdate("9", plain[9].delta, 10**9)]

    assert result_of(aggregator, inflated).tobytes() == result_of(aggregator, plain).tobytes()


@pytest.mark.parametrize(("aggregator", "least"), [(Krum(1), 5), (MultiKrum(2), 7)])
def test_too_few_updates_are_refused_with_the_numbers(aggregator, least):
    values = updates_of(*[0.0] * (least - 1))

    assert aggregator.least_updates == least
    with pytest.raises(AggregationError, match=f"{least - 1} updates are too few.*{least} are"):
        aggregator(values)


@pytest.mark.parametrize(
    ("part", "options", "reason"),
    [
        (TrimmedMean, {"trim_fraction": 0.5}, r"trim_fraction = 0.5 must be in \[0, 0.5\)"),
        (TrimmedMean, {"trim_fraction": -0.1}, "trim_fraction = -0.1"),
        (Krum, {"num_malicious": -1}, "num_malicious = -1"),
        (MultiKrum, {"num_selected": -1}, "num_selected = -1"),
        (NormClippedMean, {"max_norm": -1.0}, "max_norm = -1.0"),
        (GeometricMedian, {"tolerance": 0.0}, "tolerance = 0.0"),
    ],
)
def test_options_out_of_range_are_refused(part: Any, options: dict[str, Any], reason: str):
    with pytest.raises(ValueError, match=reason):
        part(**options)


def test_the_norm_clipped_mean_is_rounded_once():
    # Of (3, 4), scaled to norm 1, and (0.1, 0): (0.6 + fl(0.1)) / 2, (0.8 + 0) / 2.
    (mean,) = NormClippedMean(max_norm=1.0)(updates_of([3.0, 4.0], [0.1, 0.0]))

    np.testing.assert_array_equal(
        mean, np.array([(0.6 + float(np.float32(0.1))) / 2, 0.4], np.float32)
    )
