"""What replies are refused, and what becomes of the rest of the round."""

import numpy as np
import pytest
from flwr.common import ndarrays_to_parameters

from strategies import UpdateError, weighted_mean
from tests.support.strategy_round import (
    TOP,
    W_T,
    Proxy,
    aggregate,
    arrays,
    in_a_round,
    manager_of,
    participants,
    raw_reply,
    received,
    reply,
)


@pytest.mark.parametrize("aggregator", [weighted_mean, lambda updates: weighted_mean(updates)])
def test_replies_received_one_by_one_give_the_bits_of_all_at_once(aggregator):
    rng = np.random.default_rng(1)
    results = [
        reply(str(i), arrays(rng.normal(size=2).tolist(), rng.normal()), i + 1, loss=i / 3)
        for i in range(20)
    ]
    results[7] = reply("7", arrays([np.nan, 1], 1))
    at_once, one_by_one = in_a_round(aggregator=aggregator), in_a_round(aggregator=aggregator)

    expected, metrics = aggregate(at_once, *results)
    new, new_metrics = received(one_by_one, *results)

    assert [a.tobytes() for a in new] == [a.tobytes() for a in expected]
    assert new_metrics == metrics
    assert [error.reason for error in one_by_one.rejections] == [
        error.reason for error in at_once.rejections
    ]


def test_what_was_received_in_a_round_that_was_left_does_not_enter_the_next():
    strategy = in_a_round()
    strategy.receive(1, *reply("0", arrays([9, 9], 9)))
    strategy.configure_fit(2, ndarrays_to_parameters(W_T), manager_of(*participants(2)))

    new, _ = received(strategy, reply("1", arrays([1, 1], 1)))
    again, _ = received(strategy, reply("1", arrays([1, 1], 1)))

    np.testing.assert_array_equal(new[0], [2.0, 3.0])
    np.testing.assert_array_equal(again[0], [2.0, 3.0])


def test_updates_reach_the_aggregator_sorted_by_participant():
    seen: list[str] = []

    def spy(updates):
        seen.extend(update.participant for update in updates)
        return weighted_mean(updates)

    zero = arrays([0, 0], 0)
    results = [reply(name, zero) for name in ("clinic", "10", "9", "0")]

    aggregate(in_a_round(aggregator=spy), *results)

    assert seen == ["0", "9", "10", "clinic"]


def test_a_participant_without_a_name_is_known_by_its_node_id():
    nameless = Proxy("5577"), reply("?", arrays([np.nan, 0], 0))[1]
    strategy = in_a_round()

    aggregate(strategy, nameless)

    assert [error.participant for error in strategy.rejections] == ["5577"]


# What is refused


GOOD = reply("0", arrays([1, 1], 1))
NPY = ndarrays_to_parameters(arrays([1, 1], 1)).tensors
BAD = {
    "nan": (reply("1", arrays([np.nan, 1], 1)), "array 0 holds 1 values that are not finite"),
    "inf": (reply("1", arrays([1, 1], np.inf)), "array 1 holds 1 values that are not finite"),
    "shape": (
        reply("1", [np.ones((2, 1), np.float32), W_T[1]]),
        "array 0 has shape (2, 1), the model's has (2,)",
    ),
    "too few": (reply("1", arrays([1, 1], 1)[:1]), "it has 1 arrays, the model has 2"),
    "too many": (reply("1", [*arrays([1, 1], 1), W_T[0]]), "it has 3 arrays, the model has 2"),
    "none": (reply("1", []), "it has 0 arrays, the model has 2"),
    "dtype": (
        reply("1", [np.ones(2), np.ones((), np.float32)]),
        "array 0 has dtype float64, the model's has float32",
    ),
    "no examples": (reply("1", arrays([1, 1], 1), 0), "its number of examples is 0"),
    "negative examples": (reply("1", arrays([1, 1], 1), -4), "its number of examples is -4"),
    "half an example": (reply("1", arrays([1, 1], 1), 0.5), "its number of examples is 0.5"),
    "garbage": (raw_reply("1", b"garbage", NPY[1]), "array 0 cannot be decoded"),
    "empty bytes": (raw_reply("1", NPY[0], b""), "array 1 cannot be decoded"),
    "truncated": (raw_reply("1", NPY[0], NPY[1][:-1]), "array 1 cannot be decoded"),
    "weights of another shape": (
        reply("1", [np.ones(3, np.float32), W_T[1]], update="weights"),
        "array 0 has shape (3,)",
    ),
    "weights with nan": (
        reply("1", arrays([np.nan, 1], 1), update="weights"),
        "array 0 holds 1 values that are not finite",
    ),
    "weights, too few": (reply("1", [], update="weights"), "it has 0 arrays"),
}
bad_updates = pytest.mark.parametrize(
    ("bad", "reason"), [pytest.param(*case, id=name) for name, case in BAD.items()]
)


@bad_updates
@pytest.mark.parametrize("bad_first", [True, False])
def test_a_bad_update_is_named_and_the_rest_is_aggregated(bad, reason, bad_first, flower_log):
    strategy = in_a_round()

    new, _ = aggregate(strategy, *((bad, GOOD) if bad_first else (GOOD, bad)))

    np.testing.assert_array_equal(new[0], [2.0, 3.0])  # w_t + GOOD, nothing else
    (rejection,) = strategy.rejections
    assert isinstance(rejection, UpdateError)
    assert rejection.participant == "1"
    assert reason in rejection.reason
    assert f"update of participant 1 refused: {rejection.reason}" in flower_log.text


@bad_updates
def test_where_failures_are_not_accepted_a_bad_update_ends_the_round(bad, reason):
    assert aggregate(in_a_round(accept_failures=False), GOOD, bad) == (None, {})


def test_weights_too_far_away_for_a_delta_are_refused():
    far = arrays([-TOP, -TOP], 0)
    strategy = in_a_round(far)

    new, _ = aggregate(strategy, GOOD, reply("1", arrays([TOP, TOP], 0), update="weights"))

    assert [error.participant for error in strategy.rejections] == ["1"]
    assert new is not None


def test_if_all_are_bad_the_model_stays_as_it_was():
    strategy = in_a_round()

    assert aggregate(strategy, *(bad for bad, _ in BAD.values())) == (None, {})
    assert len(strategy.rejections) == len(BAD)


def test_no_results_leave_the_model_as_it_was():
    assert aggregate(in_a_round()) == (None, {})
    assert aggregate(in_a_round(), failures=[RuntimeError("gone")]) == (None, {})


def test_rejections_are_those_of_the_latest_round():
    strategy = in_a_round()
    aggregate(strategy, GOOD, BAD["nan"][0])

    aggregate(strategy, GOOD)

    assert strategy.rejections == ()


def test_failures_are_accepted_unless_told_otherwise():
    gone = [RuntimeError("gone")]

    assert aggregate(in_a_round(), GOOD, failures=gone)[0] is not None
    assert aggregate(in_a_round(accept_failures=False), GOOD, failures=gone) == (None, {})
    assert aggregate(in_a_round(accept_failures=False), GOOD)[0] is not None
