from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.compression.top_k import TopK
from strategies.core.client_update import Arrays

# Few different values, so that many are equal.
coarse = st.integers(-3, 3).map(float)
vectors = hnp.arrays(np.float32, st.integers(1, 200), elements=coarse)


def through(codec: TopK, delta: Arrays) -> Arrays:
    return codec.decode(codec.encode(delta, np.random.default_rng(0)), delta)


def test_by_hand():
    delta = [np.array([[0.1, -5.0], [2.0, 0.0]], np.float32), np.array(-3.0, np.float32)]

    first, second = through(TopK(0.4), delta)  # 2 of 5

    np.testing.assert_array_equal(first, [[0, -5], [0, 0]])
    assert second == -3


@given(vector=vectors, fraction=st.floats(0.001, 1))
def test_it_keeps_what_a_stable_sort_puts_first(vector: np.ndarray, fraction: float):
    codec = TopK(fraction)
    kept = np.argsort(-np.abs(vector), kind="stable")[: codec.num_kept(vector.size)]
    expected = np.zeros_like(vector)
    expected[kept] = vector[kept]

    (decoded,) = through(codec, [vector])

    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize(
    ("fraction", "total", "expected"),
    [(0.01, 431_080, 4311), (0.01, 1, 1), (1e-9, 1000, 1), (1.0, 7, 7), (0.5, 0, 0), (0.3, 10, 3)],
)
def test_how_many_are_kept(fraction: float, total: int, expected: int):
    assert TopK(fraction).num_kept(total) == expected


def test_the_values_are_those_of_their_format():
    delta = [np.random.default_rng(2).standard_normal(5000, dtype=np.float32)]

    plain, rounded = (through(TopK(0.1, values), delta)[0] for values in ("float32", "int8"))

    np.testing.assert_array_equal(rounded != 0, plain != 0)
    assert 0 < np.abs(rounded - plain).max() < np.abs(plain).max() / 127


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan"), float("inf")])
def test_a_fraction_that_cannot_be_is_refused(fraction: float):
    with pytest.raises(ValueError, match="must be more than 0 and at most 1"):
        TopK(fraction)


@pytest.mark.parametrize("values", ["int2", "", 8])
def test_a_format_that_is_not_known_is_refused(values: Any):
    with pytest.raises(ValueError, match="must be one of float32, float16, bfloat16, int8, int4"):
        TopK(values=values)
