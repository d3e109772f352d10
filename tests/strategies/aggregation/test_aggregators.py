"""Laws that every aggregator obeys, and the numbers of each one."""

from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.aggregation.base import AggregatorFunction
from strategies.aggregation.geometric_median import GeometricMedian
from strategies.aggregation.krum import Krum, MultiKrum
from strategies.aggregation.robust import NormClippedMean, TrimmedMean, coordinate_median
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.contract import aggregators as laws
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate, participant_order

AGGREGATORS: dict[str, AggregatorFunction] = {
    "weighted_mean": weighted_mean,
    "median": coordinate_median,
    "trimmed_mean": TrimmedMean(0.3),
    "krum": Krum(num_malicious=0),
    "multi_krum": MultiKrum(num_malicious=0, num_selected=2),
    "geometric_median": GeometricMedian(max_iterations=3),
    "norm_clipped_mean": NormClippedMean(),
}


def aggregators_but(*names: str) -> pytest.MarkDecorator:
    params = [
        pytest.param(part, id=name) for name, part in AGGREGATORS.items() if name not in names
    ]
    return pytest.mark.parametrize("aggregator", params)


every_aggregator = aggregators_but()

shapes = st.lists(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), max_size=3)
counts = st.integers(1, 100_000)
# On this grid a translation is exact: only the aggregator itself can round.
grid_values = st.integers(-(2**12), 2**12).map(lambda value: value / 64)
any_values = st.floats(width=32, allow_nan=False, allow_infinity=False)


def update(name: object, *arrays: object, num_examples: int = 1) -> ClientUpdate:
    return ClientUpdate(str(name), [np.asarray(a, dtype=np.float32) for a in arrays], num_examples)


@st.composite
def rounds(draw, values=grid_values) -> list[ClientUpdate]:
    form = draw(shapes)
    return [
        ClientUpdate(
            str(participant),
            [draw(hnp.arrays(np.float32, shape, elements=values)) for shape in form],
            draw(counts),
        )
        for participant in range(draw(st.integers(3, 6)))
    ]


def assert_same_bits(left: Arrays, right: Arrays) -> None:
    assert [a.tobytes() for a in left] == [a.tobytes() for a in right]


# Every aggregator


@every_aggregator
@given(updates=rounds(any_values), order=st.randoms(use_true_random=False))
def test_arrival_order_does_not_change_a_bit_once_sorted(
    aggregator: AggregatorFunction, updates: list[ClientUpdate], order: Random
):
    arrived = list(updates)
    order.shuffle(arrived)

    expected = aggregator(updates)
    actual = aggregator(sorted(arrived, key=lambda u: participant_order(u.participant)))

    assert_same_bits(actual, expected)


@every_aggregator
@given(seed=st.integers(0, 2**32), order=st.randoms(use_true_random=False))
def test_permutation_invariance(aggregator: AggregatorFunction, seed: int, order: Random):
    updates = laws.example_updates(np.random.default_rng(seed))

    laws.does_not_see_the_order(
        aggregator, updates, order.sample(range(len(updates)), len(updates))
    )


@aggregators_but("norm_clipped_mean")  # which draws towards zero
@given(updates=rounds(), shift=grid_values)
def test_translation_equivariance(
    aggregator: AggregatorFunction, updates: list[ClientUpdate], shift: float
):
    laws.moves_with_the_updates(aggregator, updates, shift, tolerance=1.6e-5)


@every_aggregator
@given(one=rounds(any_values), num_examples=st.lists(counts, min_size=3, max_size=7))
def test_identical_updates_give_themselves(
    aggregator: AggregatorFunction, one: list[ClientUpdate], num_examples: list[int]
):
    laws.gives_identical_updates_back(aggregator, one[0].delta, num_examples)


@aggregators_but("norm_clipped_mean")
@given(updates=rounds(any_values))
def test_no_coordinate_leaves_the_range_of_the_updates(
    aggregator: AggregatorFunction, updates: list[ClientUpdate]
):
    laws.stays_among_the_updates(aggregator, updates)


@every_aggregator
@given(updates=rounds())
def test_shapes_and_dtypes_are_those_of_the_updates(
    aggregator: AggregatorFunction, updates: list[ClientUpdate]
):
    laws.has_the_form_of_the_updates(aggregator, updates)


@every_aggregator
@given(updates=rounds())
def test_inputs_are_neither_mutated_nor_shared_and_may_be_read_only(
    aggregator: AggregatorFunction, updates: list[ClientUpdate]
):
    laws.leaves_the_updates_alone(aggregator, updates)


@every_aggregator
@given(updates=rounds(any_values))
def test_equal_updates_give_equal_bits(aggregator: AggregatorFunction, updates: list[ClientUpdate]):
    laws.is_repeatable(aggregator, updates)


@every_aggregator
def test_no_updates_is_an_error(aggregator: AggregatorFunction):
    with pytest.raises(AggregationError, match="no update"):
        aggregator([])


@every_aggregator
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(update("b", [[1.0, 2.0]]), id="broadcastable shape"),
        pytest.param(update("b", 1.0), id="scalar"),
        pytest.param(update("b", [1.0, 2.0], [1.0]), id="one array too many"),
        pytest.param(update("b"), id="no array"),
    ],
)
def test_different_shapes_are_an_error_that_names_the_participants(
    aggregator: AggregatorFunction, other: ClientUpdate
):
    with pytest.raises(AggregationError, match=r"participants a and b"):
        aggregator([update("a", [1.0, 2.0]), other, other])


@every_aggregator
def test_empty_and_zero_dimensional_arrays(aggregator: AggregatorFunction):
    empty = np.zeros((0, 3), dtype=np.float32)

    result = aggregator([update(i, 2.0, empty) for i in range(3)])

    assert [a.shape for a in result] == [(), (0, 3)]
    assert result[0] == 2.0


# The weighted mean


def test_weighted_mean_by_hand():
    # n = 1 + 3: (1*1 + 3*3) / 4 = 2.5, (1*2 + 3*6) / 4 = 5, and (1*8 + 3*0) / 4 = 2.
    updates = [update("a", [1.0, 2.0], 8.0), update("b", [3.0, 6.0], 0.0, num_examples=3)]

    first, second = weighted_mean(updates)

    np.testing.assert_array_equal(first, [2.5, 5.0])
    assert second == 2.0


def test_weighted_mean_of_one_is_that_one():
    (result,) = weighted_mean([update("a", [0.1, -0.3], num_examples=6000)])

    np.testing.assert_array_equal(result, np.array([0.1, -0.3], np.float32))


def test_equal_example_counts_give_the_plain_mean_whatever_the_count():
    arrays = [[0.5, 1.0], [1.5, -1.0], [4.0, 3.0]]

    few = weighted_mean([update(i, a) for i, a in enumerate(arrays)])
    many = weighted_mean([update(i, a, num_examples=6000) for i, a in enumerate(arrays)])

    np.testing.assert_array_equal(few[0], [2.0, 1.0])
    np.testing.assert_array_equal(many[0], [2.0, 1.0])


@given(
    values=st.lists(st.tuples(any_values, counts), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_weighted_mean_is_rounded_once(values: list[tuple[float, int]], order: Random):
    order.shuffle(values)
    n = sum(count for _, count in values)
    exact = sum((Fraction(value) * count for value, count in values), Fraction(0)) / n
    # What summing in float64 may lose where terms cancel.
    total_size = sum((abs(Fraction(value)) * count for value, count in values), Fraction(0))
    cancelled = Fraction(len(values), 2**52) * total_size / n

    (result,) = weighted_mean(
        [update(i, v, num_examples=count) for i, (v, count) in enumerate(values)]
    )

    size = np.abs(result)  # after the largest number there is none: the one before is as far
    top = size == np.finfo(np.float32).max
    spacing = size - np.nextafter(size, np.float32(0)) if top else np.spacing(size)
    half_an_ulp = Fraction(float(spacing)) / 2
    assert abs(Fraction(float(result)) - exact) <= half_an_ulp + cancelled


@pytest.mark.parametrize("num_participants", [2, 10, 100])
def test_weighted_mean_is_within_half_an_ulp_of_the_mean_in_extended_precision(
    num_participants: int,
):
    rng = np.random.default_rng(num_participants)
    deltas = rng.normal(scale=0.01, size=(num_participants, 4000)).astype(np.float32)
    n = rng.integers(1, 60_000, num_participants)
    weights = n.astype(np.longdouble)[:, None] / np.longdouble(n.sum())
    exact = (deltas.astype(np.longdouble) * weights).sum(axis=0)

    (result,) = weighted_mean(
        [update(i, d, num_examples=int(k)) for i, (d, k) in enumerate(zip(deltas, n, strict=True))]
    )

    assert (np.abs(result - exact) <= np.spacing(np.abs(result)) * np.longdouble(0.500001)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_weighted_mean_keeps_the_dtype_at_the_end_of_its_range(dtype: type[np.floating]):
    top = np.array([np.finfo(dtype).max / 8, np.finfo(dtype).tiny], dtype=dtype)

    (result,) = weighted_mean([ClientUpdate("a", [top], 3), ClientUpdate("b", [top], 4)])

    assert result.dtype == dtype
    np.testing.assert_array_equal(result, top)


def test_a_tie_of_the_geometric_median_moves_with_the_updates():
    """Between the two in the middle of a line all points are as good; round-off chose an update."""
    values = (0.0, 0.0, -6.0625, -31.53125, -31.53125, -51.375)
    updates = [ClientUpdate(str(i), [np.array(v, np.float32)], 1) for i, v in enumerate(values)]

    laws.moves_with_the_updates(
        GeometricMedian(max_iterations=3), updates, 1 / 64, tolerance=1.6e-5
    )
