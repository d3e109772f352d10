import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.client_update import (
    AggregationError,
    ClientUpdate,
    UpdateError,
    check_update,
    participant_order,
)

LIKE = [np.zeros((2, 3), np.float32), np.zeros((), np.float32)]


def good_arrays() -> list[np.ndarray]:
    return [np.ones((2, 3), np.float32), np.array(1, np.float32)]


def holding(value: float) -> list[np.ndarray]:
    arrays = good_arrays()
    arrays[0][1, 2] = value
    return arrays


def check(delta: list[np.ndarray], num_examples: Any = 5) -> None:
    check_update(ClientUpdate("7", delta, num_examples), LIKE)


def test_an_update_of_the_models_form_passes():
    check(good_arrays())
    check(good_arrays(), np.int64(5))


@pytest.mark.parametrize(
    ("delta", "reason"),
    [
        (good_arrays()[:1], "it has 1 arrays, the model has 2"),
        ([*good_arrays(), np.zeros(1)], "it has 3 arrays, the model has 2"),
        ([], "it has 0 arrays, the model has 2"),
        ([np.ones((3, 2), np.float32), good_arrays()[1]], r"array 0 has shape \(3, 2\)"),
        ([good_arrays()[0], np.ones(1, np.float32)], r"array 1 has shape \(1,\)"),
        ([np.ones((2, 3)), good_arrays()[1]], "array 0 has dtype float64.*float32"),
        ([np.ones((2, 3), ">f4"), good_arrays()[1]], "array 0 has dtype >f4"),
        ([np.ones((2, 3), np.int32), good_arrays()[1]], "array 0 has dtype int32"),
        (holding(np.nan), "array 0 holds 1 values that are not finite"),
        (holding(np.inf), "array 0 holds 1 values that are not finite"),
        (holding(-np.inf), "array 0 holds 1 values that are not finite"),
        ([good_arrays()[0], np.array(np.nan, np.float32)], "array 1 holds 1 values"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_reason(kernel, delta, reason):
    with pytest.raises(UpdateError, match=reason):
        check(delta)


@pytest.mark.parametrize("num_examples", [0, -1, np.int64(0), 1.0, 2.5, True, "5", None])
def test_example_counts_that_are_not_positive_whole_numbers_are_refused(num_examples):
    with pytest.raises(UpdateError, match="its number of examples is"):
        check(good_arrays(), num_examples)


def test_infinities_that_cancel_in_a_sum_are_found(kernel):
    arrays = holding(np.inf)
    arrays[0][0, 0] = -np.inf

    with pytest.raises(UpdateError, match="array 0 holds 2 values"):
        check(arrays)


def test_finite_values_whose_sum_overflows_pass(kernel):
    check([np.full((2, 3), np.finfo(np.float32).max), np.array(1, np.float32)])


@given(st.sets(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1), st.data())
def test_every_value_that_is_not_finite_is_counted(places, data):
    arrays = good_arrays()
    for place in places:
        arrays[0][place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))

    with pytest.raises(UpdateError, match=f"array 0 holds {len(places)} values"):
        check(arrays)


def test_a_refusal_names_the_participant_and_keeps_the_reason():
    with pytest.raises(UpdateError) as caught:
        check_update(ClientUpdate("hospital-3", good_arrays(), 0), LIKE)

    assert caught.value.participant == "hospital-3"
    assert str(caught.value) == f"update of participant hospital-3 refused: {caught.value.reason}"
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, AggregationError)


def test_checking_does_not_mutate():
    arrays = good_arrays()
    for array in arrays:
        array.setflags(write=False)

    check(arrays)


def test_an_update_cannot_be_reassigned():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ClientUpdate("0", [], 1).num_examples = 2  # type: ignore[misc]


def test_numbers_come_first_and_by_value_then_names():
    names = ["b", "10", "a", "9", "-1", "²", "", "0"]

    assert sorted(names, key=participant_order) == ["0", "9", "10", "", "-1", "a", "b", "²"]


@given(st.lists(st.text(), unique=True))
def test_the_order_is_total(names):
    backwards = names[::-1]
    backwards.sort(key=participant_order)

    assert sorted(names, key=participant_order) == backwards


def test_numbers_written_differently_keep_one_order():
    assert sorted(["01", "1"], key=participant_order) == sorted(["1", "01"], key=participant_order)


def test_a_name_of_any_length_has_its_place():
    names = ["9" * 5000, "north", "12"]
    assert sorted(names, key=participant_order) == ["12", "9" * 5000, "north"]
