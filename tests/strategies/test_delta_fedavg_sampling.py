"""Who is sampled for a round, and what those are sent."""

import random
from typing import Any

from flwr.common import ndarrays_to_parameters

from strategies import DeltaFedAvg
from tests.support.strategy_round import W_T, Proxy, manager_of, participants


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
