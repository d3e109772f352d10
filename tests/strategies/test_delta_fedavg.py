import inspect
import random
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from flwr.common import (
    Code,
    EvaluateRes,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.client_manager import SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg
from hypothesis import given
from hypothesis import strategies as st

from strategies import AggregationError, DeltaFedAvg, UpdateError, weighted_mean

OK = Status(Code.OK, "")
W_T = [np.array([1.0, 2.0], np.float32), np.array(10.0, np.float32)]
TOP = float(np.finfo(np.float32).max)


class Proxy(ClientProxy):
    """A participant that is only there: nothing is asked of it."""

    def __init__(self, cid: str, participant: str | None = None) -> None:
        super().__init__(cid)
        if participant is not None:
            self.properties["participant"] = participant

    def _unasked(self, *_args: Any, **_kwargs: Any) -> Any:
        raise AssertionError("a strategy sends nothing itself")

    get_properties = get_parameters = fit = evaluate = reconnect = _unasked


def arrays(first: list[float], second: float) -> list[np.ndarray]:
    return [np.array(first, np.float32), np.array(second, np.float32)]


def reply(name: str, delta: list[np.ndarray], num_examples: Any = 1, **metrics: Any):
    result = FitRes(OK, ndarrays_to_parameters(delta), num_examples, {"update": "delta", **metrics})
    return Proxy(f"node-{name}", name), result


def raw_reply(name: str, *tensors: bytes):
    return Proxy(f"node-{name}", name), FitRes(
        OK, Parameters(list(tensors), "numpy.ndarray"), 1, {}
    )


def evaluation(name: str, loss: float, num_examples: int, **metrics: Any):
    return Proxy(f"node-{name}", name), EvaluateRes(OK, loss, num_examples, metrics)


def manager_of(*proxies: Proxy) -> SimpleClientManager:
    manager = SimpleClientManager()
    for proxy in proxies:
        assert manager.register(proxy)
    return manager


def participants(num: int, prefix: str = "node") -> list[Proxy]:
    return [Proxy(f"{prefix}-{i}", str(i)) for i in range(num)]


def in_a_round(weights: list[np.ndarray] = W_T, **arguments: Any) -> DeltaFedAvg:
    """A strategy that has sent `weights` to its participants."""
    strategy = DeltaFedAvg(**arguments)
    strategy.configure_fit(
        server_round=1,
        parameters=ndarrays_to_parameters(weights),
        client_manager=manager_of(*participants(2)),
    )
    return strategy


def aggregate(strategy: DeltaFedAvg, *results: Any, failures: Any = ()):
    parameters, metrics = strategy.aggregate_fit(
        server_round=1, results=list(results), failures=list(failures)
    )
    return (None if parameters is None else parameters_to_ndarrays(parameters)), metrics


# A drop-in for FedAvg


def test_every_argument_of_fedavg_is_taken_and_kept():
    def function(*_args: Any) -> None:
        return None

    values: dict[str, Any] = {
        "fraction_fit": 0.5,
        "fraction_evaluate": 0.25,
        "min_fit_clients": 3,
        "min_evaluate_clients": 4,
        "min_available_clients": 5,
        "evaluate_fn": function,
        "on_fit_config_fn": function,
        "on_evaluate_config_fn": function,
        "accept_failures": False,
        "initial_parameters": ndarrays_to_parameters(W_T),
        "fit_metrics_aggregation_fn": function,
        "evaluate_metrics_aggregation_fn": function,
        "inplace": False,
    }
    assert set(values) == set(inspect.signature(FedAvg.__init__).parameters) - {"self"}

    strategy = DeltaFedAvg(**values)

    assert isinstance(strategy, FedAvg)
    assert {name: getattr(strategy, name) for name in values} == values


def test_an_argument_that_fedavg_does_not_know_is_refused():
    with pytest.raises(TypeError, match="learning_rate"):
        DeltaFedAvg(learning_rate=0.1)


def test_the_method_signatures_keep_flowers_names():
    for name in ("configure_fit", "aggregate_fit", "aggregate_evaluate"):
        ours = inspect.signature(getattr(DeltaFedAvg, name)).parameters
        assert list(ours) == list(inspect.signature(getattr(FedAvg, name)).parameters)


def test_its_repr_says_what_it_is():
    assert repr(DeltaFedAvg()) == "DeltaFedAvg(aggregator=weighted_mean, accept_failures=True)"


# Steps 3 and 4


def test_new_weights_are_the_old_ones_plus_the_weighted_delta():
    # w_t = ([1, 2], 10); delta = (1 * a + 3 * b) / 4 = ([2.5, -1], 3)
    results = [reply("0", arrays([1, 2], 0)), reply("1", arrays([3, -2], 4), 3)]

    new, _ = aggregate(in_a_round(), *results)

    np.testing.assert_array_equal(new[0], [3.5, 1.0])
    np.testing.assert_array_equal(new[1], 13.0)
    assert [(a.dtype, a.shape) for a in new] == [(a.dtype, a.shape) for a in W_T]


def test_each_round_starts_from_the_weights_that_were_sent():
    strategy = in_a_round()
    manager = manager_of(*participants(2))
    delta = arrays([1, 1], 1)

    first, _ = aggregate(strategy, reply("0", delta))
    strategy.configure_fit(2, ndarrays_to_parameters(arrays([5, 5], 5)), manager)
    second, _ = aggregate(strategy, reply("0", delta))

    np.testing.assert_array_equal(first[0], [2.0, 3.0])
    np.testing.assert_array_equal(second[0], [6.0, 6.0])


def test_a_zero_delta_changes_nothing():
    new, _ = aggregate(in_a_round(), reply("0", arrays([0, 0], 0), 6000))

    for actual, expected in zip(new, W_T, strict=True):
        np.testing.assert_array_equal(actual, expected)


@given(st.randoms(use_true_random=False))
def test_arrival_order_does_not_change_a_bit(order: Random):
    rng = np.random.default_rng(1)
    results = [
        reply(str(i), arrays(rng.normal(size=2).tolist(), rng.normal()), int(rng.integers(1, 99)))
        for i in range(12)
    ]
    results[3][1].metrics["train-loss"] = 0.1
    results[7][1].metrics["train-loss"] = 0.7
    expected, expected_metrics = aggregate(in_a_round(), *results)
    order.shuffle(results)

    new, metrics = aggregate(in_a_round(), *results)

    assert [a.tobytes() for a in new] == [a.tobytes() for a in expected]
    assert metrics == expected_metrics


def received(strategy: DeltaFedAvg, *results: Any, failures: Any = ()):
    """Like `aggregate`, but the replies are taken in one after the other, in order."""
    for proxy, result in sorted(results, key=lambda r: int(r[0].properties["participant"])):
        strategy.receive(1, proxy, result)
    bare = [(p, replace(r, parameters=Parameters([], ""))) for p, r in results]
    return aggregate(strategy, *bare, failures=failures)


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


def test_the_aggregator_is_an_argument():
    new, _ = aggregate(
        in_a_round(aggregator=lambda updates: arrays([100, 100], 100)),
        reply("0", arrays([1, 1], 1)),
    )

    np.testing.assert_array_equal(new[0], [101.0, 102.0])


@pytest.mark.parametrize(
    ("delta", "fault"),
    [
        ([np.zeros(2, np.float32)], "it has 1 arrays, the model has 2"),
        ([np.zeros(2), np.zeros((), np.float32)], "array 0 has dtype float64"),
        ([np.zeros(3, np.float32), np.zeros((), np.float32)], "array 0 has shape (3,)"),
    ],
)
def test_what_an_aggregator_returns_has_the_form_of_the_model(flower_log, delta, fault):
    outcome = aggregate(in_a_round(aggregator=lambda _: delta), reply("0", arrays([1, 1], 1)))

    assert outcome == (None, {})
    assert "what the aggregator returned is no delta" in flower_log.text
    assert fault in flower_log.text


def test_updates_that_an_aggregator_cannot_use_change_nothing_and_it_is_said_why(flower_log):
    def refuse(updates):
        raise AggregationError("five are needed")

    outcome = aggregate(in_a_round(aggregator=refuse), reply("0", arrays([1, 1], 1)))

    assert outcome == (None, {})
    assert "round 1 changes nothing: five are needed" in flower_log.text


def test_metrics_are_averaged_over_the_examples_of_accepted_updates():
    # (1 * 2 + 3 * 6) / 4 = 5; the refused one says 1000.
    results = [
        reply("0", arrays([0, 0], 0), 1, loss=2.0),
        reply("1", arrays([0, 0], 0), 3, loss=6.0),
        reply("2", arrays([np.nan, 0], 0), 5, loss=1000.0),
    ]

    _, metrics = aggregate(in_a_round(), *results)

    assert metrics == {"loss": 5.0}


def test_metrics_can_be_turned_off_as_in_fedavg():
    strategy = in_a_round(fit_metrics_aggregation_fn=None)

    _, metrics = aggregate(strategy, reply("0", arrays([0, 0], 0), loss=2.0))

    assert metrics == {}


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


def test_a_sum_that_overflows_is_dropped(flower_log):
    strategy = in_a_round([np.full(2, TOP, np.float32), W_T[1]])

    assert aggregate(strategy, reply("0", arrays([TOP, TOP], 0))) == (None, {})
    assert "overflows" in flower_log.text


# Replies that hold weights


def test_replies_marked_as_weights_are_turned_into_deltas():
    # weights ([3, 2], 10) are a delta of ([2, 0], 0); with ([0, 4], 0): (3 * a + b) / 4
    results = [
        reply("0", arrays([3, 2], 10), 3, update="weights"),
        reply("1", arrays([0, 4], 0), 1),
    ]

    new, _ = aggregate(in_a_round(), *results)

    np.testing.assert_array_equal(new[0], [2.5, 3.0])
    np.testing.assert_array_equal(new[1], 10.0)


def test_a_reply_that_does_not_say_holds_a_delta():
    proxy, result = GOOD
    unmarked = FitRes(result.status, result.parameters, result.num_examples, {})

    new, _ = aggregate(in_a_round(), (proxy, unmarked))

    np.testing.assert_array_equal(new[0], [2.0, 3.0])


def test_without_any_configure_fit_replies_are_averaged_as_they_are():
    results = [reply("0", arrays([1, 2], 0)), reply("1", arrays([3, -2], 4), 3)]

    new, _ = aggregate(DeltaFedAvg(), *results)

    np.testing.assert_array_equal(new[0], [2.5, -1.0])


def test_without_any_configure_fit_the_first_valid_reply_sets_the_form():
    strategy = DeltaFedAvg()
    results = [
        reply("2", [np.ones(3, np.float32)]),
        reply("1", arrays([1, 2], 3)),
        reply("0", arrays([np.nan, 2], 3)),
    ]

    new, _ = aggregate(strategy, *results)

    np.testing.assert_array_equal(new[0], [1.0, 2.0])
    assert [error.participant for error in strategy.rejections] == ["0", "2"]


# Who is sampled


def sampled_names(strategy: DeltaFedAvg, proxies: list[Proxy], server_round: int) -> list[str]:
    configured = strategy.configure_fit(
        server_round, ndarrays_to_parameters(W_T), manager_of(*proxies)
    )
    return [str(proxy.properties["participant"]) for proxy, _ in configured]


def half(seed: int) -> DeltaFedAvg:
    return DeltaFedAvg(seed=seed, fraction_fit=0.5)


def test_all_are_asked_by_default():
    assert sampled_names(DeltaFedAvg(), participants(12), 1) == [str(i) for i in range(12)]


def test_sampling_is_seeded():
    rounds = range(1, 11)
    one = [sampled_names(half(1), participants(10), r) for r in rounds]

    assert [sampled_names(half(1), participants(10), r) for r in rounds] == one
    assert [sampled_names(half(2), participants(10), r) for r in rounds] != one
    assert len({tuple(names) for names in one}) > 5
    assert all(len(names) == 5 for names in one)


def test_sampling_depends_neither_on_node_ids_nor_on_connection_nor_on_the_global_generator():
    expected = sampled_names(half(1), participants(10), 3)
    other = participants(10, prefix="restarted")
    random.Random(4).shuffle(other)
    random.seed(99)

    assert sampled_names(half(1), other, 3) == expected


def test_who_evaluates_is_seeded_too():
    strategy = DeltaFedAvg(seed=1, fraction_evaluate=0.2)
    draws = set()
    for global_seed in range(10):
        random.seed(global_seed)
        configured = strategy.configure_evaluate(
            3, ndarrays_to_parameters(W_T), manager_of(*participants(10))
        )
        draws.add(tuple(sorted(str(proxy.properties["participant"]) for proxy, _ in configured)))

    assert len(draws) == 1


def test_at_least_the_minimum_is_sampled():
    strategy = DeltaFedAvg(fraction_fit=0.1, min_fit_clients=3, min_available_clients=3)

    assert len(sampled_names(strategy, participants(10), 1)) == 3


def test_too_few_participants_give_an_empty_round(flower_log):
    strategy = DeltaFedAvg(min_fit_clients=5, min_available_clients=2)

    assert sampled_names(strategy, participants(3), 1) == []
    assert "5 participants are needed, 3 are here" in flower_log.text


# What is sent


def configs_sent(strategy: DeltaFedAvg, server_round: int = 1) -> list[dict[str, Any]]:
    configured = strategy.configure_fit(
        server_round, ndarrays_to_parameters(W_T), manager_of(*participants(2))
    )
    return [ins.config for _, ins in configured]


def test_participants_are_sent_the_weights_and_asked_for_deltas():
    parameters = ndarrays_to_parameters(W_T)

    configured = DeltaFedAvg().configure_fit(1, parameters, manager_of(*participants(2)))

    assert [ins.parameters for _, ins in configured] == [parameters, parameters]
    assert [ins.config for _, ins in configured] == [{"update": "delta"}] * 2


def test_the_users_config_is_merged_and_not_mutated():
    shared = {"epochs": 3}
    strategy = DeltaFedAvg(on_fit_config_fn=lambda server_round: shared)

    assert configs_sent(strategy) == [{"epochs": 3, "update": "delta"}] * 2
    assert shared == {"epochs": 3}


def test_the_users_config_is_told_the_round():
    strategy = DeltaFedAvg(on_fit_config_fn=lambda server_round: {"round": server_round})

    assert [config["round"] for config in configs_sent(strategy, 7)] == [7, 7]


def test_the_users_config_cannot_ask_for_something_else():
    strategy = DeltaFedAvg(on_fit_config_fn=lambda server_round: {"update": "weights"})

    assert [config["update"] for config in configs_sent(strategy)] == ["delta", "delta"]


# Evaluation


def evaluate_all(strategy: DeltaFedAvg, *results: Any, failures: Any = ()):
    return strategy.aggregate_evaluate(
        server_round=1, results=list(results), failures=list(failures)
    )


def test_evaluation_is_averaged_over_examples():
    # (1 * 2 + 3 * 4) / 4 = 3.5 and (1 * 1 + 3 * 0.5) / 4 = 0.625
    loss, metrics = evaluate_all(
        DeltaFedAvg(),
        evaluation("0", 2.0, 1, accuracy=1.0),
        evaluation("1", 4.0, 3, accuracy=0.5),
    )

    assert (loss, metrics) == (3.5, {"accuracy": 0.625})


@pytest.mark.parametrize(
    "useless",
    [
        evaluation("2", 9.0, 0, accuracy=0.0),
        evaluation("2", 9.0, -1, accuracy=0.0),
        evaluation("2", float("nan"), 5, accuracy=0.0),
        evaluation("2", float("inf"), 5, accuracy=0.0),
    ],
)
def test_evaluations_without_examples_or_a_finite_loss_do_not_count(useless):
    usable = evaluation("0", 2.0, 3, accuracy=0.5)

    assert evaluate_all(DeltaFedAvg(), usable, useless) == (2.0, {"accuracy": 0.5})
    assert evaluate_all(DeltaFedAvg(), useless) == (None, {})


def test_no_evaluation_has_no_score():
    assert evaluate_all(DeltaFedAvg()) == (None, {})
    failed = evaluate_all(
        DeltaFedAvg(accept_failures=False), evaluation("0", 2.0, 3), failures=[RuntimeError()]
    )
    assert failed == (None, {})


@given(st.randoms(use_true_random=False))
def test_the_order_of_evaluations_does_not_change_a_bit(order: Random):
    rng = np.random.default_rng(2)
    results = [
        evaluation(str(i), rng.random(), int(rng.integers(1, 99)), accuracy=rng.random())
        for i in range(11)
    ]
    expected = evaluate_all(DeltaFedAvg(), *results)
    order.shuffle(results)

    assert evaluate_all(DeltaFedAvg(), *results) == expected
