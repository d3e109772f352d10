import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.metrics import Scalar, weighted_average

finite = st.floats(-1e6, 1e6)


def test_the_average_by_hand():
    # (1 * 0.5 + 3 * 0.9) / 4 = 0.8 and (1 * 2 + 3 * 6) / 4 = 5
    average = weighted_average(
        [(1, {"accuracy": 0.5, "loss": 2}), (3, {"accuracy": 0.9, "loss": 6})]
    )

    assert average == {"accuracy": pytest.approx(0.8, rel=1e-15), "loss": 5.0}


def test_a_metric_is_averaged_over_those_who_report_it():
    average = weighted_average([(1, {"a": 1.0}), (3, {"a": 5.0, "b": 7.0}), (10, {})])

    assert average == {"a": 4.0, "b": 7.0}


@pytest.mark.parametrize("value", [True, False, "delta", b"bytes", math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_left_out(value):
    assert weighted_average([(5, {"x": value})]) == {}
    assert weighted_average([(5, {"x": value}), (2, {"x": 3.0})]) == {"x": 3.0}


@pytest.mark.parametrize("num_examples", [0, -5])
def test_participants_without_examples_do_not_count(num_examples):
    assert weighted_average([(num_examples, {"x": 9.0}), (2, {"x": 3.0})]) == {"x": 3.0}
    assert weighted_average([(num_examples, {"x": 9.0})]) == {}


def test_nothing_has_no_average():
    assert weighted_average([]) == {}


@given(st.lists(st.tuples(st.integers(1, 60_000), finite), min_size=1))
def test_the_average_lies_between_the_extremes(pairs):
    average = weighted_average([(n, {"x": value}) for n, value in pairs])["x"]

    assert isinstance(average, float)
    slack = 1e-9 * max(1.0, *(abs(value) for _, value in pairs))
    assert min(v for _, v in pairs) - slack <= average <= max(v for _, v in pairs) + slack


@given(st.lists(st.tuples(st.integers(1, 60_000), finite), min_size=1), st.integers(1, 9))
def test_a_participant_counts_as_often_as_it_has_examples(pairs, factor):
    once = weighted_average([(n, {"x": value}) for n, value in pairs])["x"]
    scaled = weighted_average([(n * factor, {"x": value}) for n, value in pairs])["x"]

    assert scaled == pytest.approx(once, rel=1e-9, abs=1e-6)


def test_inputs_are_not_mutated():
    metrics: list[tuple[int, dict[str, Scalar]]] = [(2, {"x": 1.0, "name": "a"})]

    weighted_average(metrics)

    assert metrics == [(2, {"x": 1.0, "name": "a"})]
