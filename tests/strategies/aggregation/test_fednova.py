from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.aggregation.fednova import NormalisedMean
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.core.client_update import AggregationError, ClientUpdate, UpdateError


def update(name: str, values: list[float], num_examples: int, steps: float | None) -> ClientUpdate:
    return ClientUpdate(name, [np.array(values, np.float32)], num_examples, steps)


def test_by_hand():
    # p = (1/4, 3/4), tau = (2, 6): tau_eff = 5; sum p d / tau = 1/4 * (4, 2)/2 + 3/4 * (6, 0)/6
    updates = [update("0", [4, 2], 1, 2), update("1", [6, 0], 3, 6)]

    (delta,) = NormalisedMean()(updates)

    np.testing.assert_allclose(delta, [5 * (0.5 + 0.75), 5 * 0.25], rtol=1e-6)
    assert delta.dtype == np.float32


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5), st.floats(0.1, 1e4))
def test_equal_steps_give_the_weighted_mean(counts: list[int], steps: float):
    updates = [update(str(i), [i - 0.3, 1 / (i + 3)], n, steps) for i, n in enumerate(counts)]

    ours, theirs = NormalisedMean()(updates)[0], weighted_mean(updates)[0]

    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_who_goes_equally_far_per_step_counts_by_its_examples_alone():
    # Both move by (1, -1) per step; one takes ten times the steps.
    updates = [update("0", [3, -3], 1, 3), update("1", [30, -30], 1, 30)]

    (delta,) = NormalisedMean()(updates)

    np.testing.assert_allclose(delta, [16.5, -16.5], rtol=1e-6)


def test_inputs_are_not_changed():
    updates = [update("0", [3, -3], 1, 3), update("1", [30, -30], 1, 30)]

    NormalisedMean()(updates)

    np.testing.assert_array_equal(updates[0].delta[0], [3, -3])


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(AggregationError, match="no update"):
        NormalisedMean()([])
    with pytest.raises(UpdateError, match="participant 1 refused: it does not tell"):
        NormalisedMean()([update("0", [1], 1, 1), update("1", [1], 1, None)])


@given(
    st.lists(
        st.tuples(
            st.floats(-1, 1, width=32), st.integers(1, 10_000), st.floats(0.5, 1e3, width=32)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_it_is_rounded_once(values: list[tuple[float, int, float]]):
    n = sum(count for _, count, _ in values)
    mean_steps = sum((count * Fraction(steps) for _, count, steps in values), Fraction(0)) / n
    terms = [Fraction(v) * count * mean_steps / Fraction(steps) for v, count, steps in values]

    ((result,),) = NormalisedMean()(
        [update(str(i), [v], count, steps) for i, (v, count, steps) in enumerate(values)]
    )

    half_an_ulp = Fraction(float(np.spacing(np.abs(result)))) / 2
    total = sum(terms, Fraction(0))
    size = sum((max(term, -term) for term in terms), Fraction(0))
    assert abs(Fraction(float(result)) - total / n) <= half_an_ulp + len(values) * size / n / 2**50


def test_a_mean_near_the_largest_number_does_not_overflow():
    # tau = (1, 4), equal shares: tau_eff = 2.5; 2.5 * (top / 2 - top / 8): each is less than top.
    top = float(np.finfo(np.float32).max)

    (delta,) = NormalisedMean()([update("0", [top], 1, 1), update("1", [-top], 1, 4)])

    np.testing.assert_allclose(delta, [top * 0.9375], rtol=1e-7)
