import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_multiply
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

from fl_app.secure_aggregation.fixed_point import MODULUS, secure_range

weights = st.lists(st.integers(1, 100_000), min_size=3, max_size=40)


def through_flower(deltas, counts, plan):
    """Flower's arithmetic without the masks, which cancel: whole numbers and their mean."""
    whole = []
    for delta, count in zip(deltas, counts, strict=True):
        share = plan.whole_weight(count) / plan.target_range
        scaled = parameters_multiply([delta], share)
        whole += quantize(scaled, plan.clipping_range, plan.target_range)
    total: Any = np.sum([array.astype(np.int64) for array in whole], axis=0) & (MODULUS - 1)
    (summed,) = dequantize([total], plan.clipping_range, plan.target_range)
    summed -= (len(counts) - 1) * plan.clipping_range
    return whole, summed * plan.target_range / sum(map(plan.whole_weight, counts))


def exact_mean(deltas, counts):
    columns = zip(*[d.tolist() for d in deltas], strict=True)
    return [
        sum(n * Fraction(d) for n, d in zip(counts, column, strict=True)) / sum(counts)
        for column in columns
    ]


@given(weights, st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_the_mean_is_within_the_bound_of_the_exact_one(counts, reach, seed):
    generator = np.random.default_rng(seed)
    deltas = [generator.uniform(-reach, reach, 5) for _ in counts]
    deltas[0][:2] = reach, -reach
    plan = secure_range(reach, counts)

    _, mean = through_flower(deltas, counts, plan)

    bound = plan.error_bound(counts)
    for got, exact in zip(mean.tolist(), exact_mean(deltas, counts), strict=True):
        assert abs(Fraction(got) - exact) <= bound


@given(weights)
def test_the_sum_cannot_overflow_even_where_all_are_at_the_end_of_the_range(counts):
    plan = secure_range(1.0, counts)

    whole, mean = through_flower([np.ones(3) for _ in counts], counts, plan)

    assert sum(int(array.max()) for array in whole) < MODULUS
    assert sum(map(plan.whole_weight, counts)) < MODULUS
    assert mean == pytest.approx(1.0, abs=plan.error_bound(counts))


def test_weights_are_exact_where_the_largest_fits_into_the_range():
    plan = secure_range(1.0, [100, 250, 7])

    # (2**32 - 1) // 3 - 1 = 1431655764 = 250 * 5726623 + 14
    assert plan.target_range == 250 * 5726623
    assert [plan.whole_weight(n) for n in (100, 250, 7)] == [572662300, 1431655750, 40086361]


def test_a_weight_beyond_the_range_is_rounded_and_the_bound_says_so():
    counts = [3_000_000_000, 1_000_000_000, 7]
    plan = secure_range(1.0, counts)
    deltas = [np.array([-1.0]), np.array([1.0]), np.array([0.5])]

    _, mean = through_flower(deltas, counts, plan)

    # 1.001 * 3 steps of C / T each, times k, over (3e9 + 1e9 + 7) / 3e9
    assert plan.target_range == 1431655764
    assert plan.error_bound(counts) == pytest.approx(1.001 * 3 * 3 / 1431655764 * 0.75, rel=1e-6)
    assert abs(mean[0] - float(exact_mean(deltas, counts)[0])) <= plan.error_bound(counts)


def test_the_bound_by_hand():
    # Equal weights: 2 C / T; ten participants at C = 1 are better off than float32 at 1.
    plan = secure_range(1.0, [6000] * 10)
    assert plan.error_bound([6000] * 10) == pytest.approx(1.001 * 2 / plan.target_range)
    assert plan.error_bound([6000] * 10) < 5e-9 < np.finfo(np.float32).eps


def test_rounding_is_unbiased():
    plan = secure_range(1.0, [2**29] * 3)  # T = 2**30, and four participants are too many
    value = 0.3 * 2.0**-29
    np.random.seed(5)
    _, mean = through_flower([np.full(40_000, value)] * 3, [2**29] * 3, plan)

    deviation = plan.clipping_range / plan.target_range / math.sqrt(3)
    assert np.abs(mean - value).max() > deviation / 2
    assert mean.mean() == pytest.approx(value, abs=5 * deviation / 200)


@pytest.mark.parametrize(
    ("reach", "counts"), [(1.0, []), (1.0, [3, 0]), (0.0, [1]), (math.inf, [1]), (math.nan, [1])]
)
def test_what_is_no_range_is_refused(reach, counts):
    with pytest.raises(ValueError, match="not"):
        secure_range(reach, counts)
