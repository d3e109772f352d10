"""Metrics as sums: exact over any batching, however they are merged."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_app.core.metrics import (
    ACCURACY,
    LOSS_METRIC,
    Metric,
    Sum,
    decode,
    encode,
    finished,
    merge,
)

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
weights = st.floats(0, 1e6)
scalars = st.builds(Sum, numbers.map(np.float64).map(np.asarray), weights)
arrays = st.builds(Sum, st.lists(numbers, min_size=3, max_size=3).map(np.array), weights)
sums = st.fixed_dictionaries({"accuracy": scalars, "curve": arrays})


@given(sums)
def test_what_travels_is_the_same_to_the_bit(one) -> None:
    again = decode(encode(one))
    assert {k: (s.total.tolist(), s.weight) for k, s in again.items()} == {
        k: (s.total.tolist(), s.weight) for k, s in one.items()
    }


@given(st.lists(sums, min_size=1, max_size=6), st.integers(0, 5))
def test_merging_adds_up_wherever_it_is_divided(many, cut) -> None:
    halves = [merge(many[:cut]), merge(many[cut:])]
    together = merge(halves)
    for name in ("accuracy", "curve"):
        expected = sum((one[name].total for one in many), np.zeros(()))
        np.testing.assert_allclose(together[name].total, expected, rtol=1e-9, atol=1e-6)
        assert together[name].weight == pytest.approx(sum(one[name].weight for one in many))


def test_a_mean_of_all_is_no_mean_of_means() -> None:
    one, other = ({"accuracy": Sum(np.array(t), n)} for t, n in ((1.0, 1), (1.0, 3)))
    assert finished({"accuracy": ACCURACY}, merge([one, other])) == {"accuracy": 0.5}


def test_the_loss_is_known_to_all_and_comes_last() -> None:
    rmse = Metric("lower", finish=lambda total, n: math.sqrt(float(total) / n))
    values = finished(
        {"rmse": rmse}, {"loss": Sum(np.array(6.0), 2), "rmse": Sum(np.array(8.0), 2)}
    )
    assert list(values.items()) == [("rmse", 2.0), ("loss", 3.0)]
    assert math.isnan(LOSS_METRIC.value(Sum(np.array(0.0), 0)))


def test_better_and_how_it_is_shown() -> None:
    assert ACCURACY.gain(0.9, 0.8) > 0 > LOSS_METRIC.gain(0.9, 0.8)
    assert (ACCURACY.show(0.9), LOSS_METRIC.show(0.9)) == ("90.00%", "0.9000")


def test_sums_of_unlike_shape_are_not_added() -> None:
    one, other = ({"curve": Sum(np.zeros(n), 1)} for n in (2, 3))
    with pytest.raises(ValueError, match=r"curve has the shape \[3\], and \[2\] elsewhere"):
        merge([one, other])


@pytest.mark.parametrize(
    "text",
    [
        *(None, b"{}", "[]", "{", '{"a": 1}', '{"a": [1]}', '{"a": ["x", 1]}', '{"a": [1, "x"]}'),
        *('{"a": [1, -1]}', '{"a": [1, NaN]}', '{"a": [[1, [2]], 1]}', '{"a": [1, null]}'),
    ],
)
def test_nonsense_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(text)
