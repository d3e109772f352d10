"""Flower's strategies in a run of this project: seeded, in order, and with enough updates."""

import random
from typing import Any

import numpy as np
import pytest
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi

from strategies import DeltaFedAvg
from strategies.core.clients import SeededClientManager
from strategies.flower_strategies import SeededStrategy
from strategies.part_specs import PartError
from strategies.registry import build_part
from tests.support.strategy_round import (
    W_T,
    Proxy,
    arrays,
    evaluation,
    manager_of,
    participants,
    reply,
)

PARAMETERS = ndarrays_to_parameters(W_T)


def half(seed: int, **more: Any) -> SeededStrategy:
    return SeededStrategy(FedAvg(fraction_fit=0.5, fraction_evaluate=0.3, **more), seed, 2)


def names(configured: list[tuple[ClientProxy, Any]]) -> list[str]:
    return [str(proxy.properties["participant"]) for proxy, _ in configured]


def trained(strategy: Any, proxies: list[Proxy], server_round: int = 1) -> list[str]:
    return names(strategy.configure_fit(server_round, PARAMETERS, manager_of(*proxies)))


def test_it_samples_by_seed_round_and_name_as_delta_fedavg_does():
    ours = DeltaFedAvg(seed=1, fraction_fit=0.5)
    rounds = [trained(half(1), participants(10), r) for r in range(1, 9)]
    other = participants(10, prefix="restarted")
    random.Random(4).shuffle(other)

    assert [trained(half(1), other, r) for r in range(1, 9)] == rounds
    assert [trained(ours, other, r) for r in range(1, 9)] == rounds
    assert [trained(half(2), other, r) for r in range(1, 9)] != rounds
    assert len({tuple(drawn) for drawn in rounds}) > 5


def test_the_global_generator_has_no_say_and_is_left_alone():
    drawn = set()
    for global_seed in range(5):
        random.seed(global_seed)
        before = random.getstate()
        drawn.add(tuple(trained(half(1), participants(10))))
        configured = half(1).configure_evaluate(1, PARAMETERS, manager_of(*participants(10)))
        drawn.add(tuple(names(configured)))
        assert random.getstate() == before

    assert sorted(map(len, drawn)) == [3, 5]


def test_further_draws_in_a_round_are_others_and_repeatable():
    def three_draws() -> list[list[str]]:
        manager = SeededClientManager(manager_of(*participants(30)), 1, 1)
        return [names([(p, None) for p in manager.sample(10)]) for _ in range(3)]

    first, second, third = three_draws()

    assert first != second != third
    assert three_draws() == [first, second, third]


class Odd:
    def select(self, client: ClientProxy) -> bool:
        return int(str(client.properties["participant"])) % 2 == 1


def test_a_criterion_decides_who_may_be_drawn(flower_log):
    manager = SeededClientManager(manager_of(*participants(10)), 1, 1)

    drawn = names([(p, None) for p in manager.sample(5, criterion=Odd())])

    assert drawn == ["1", "3", "5", "7", "9"]
    assert manager.sample(6, criterion=Odd()) == []
    assert "6 participants are needed, 5 are here" in flower_log.text


def test_the_rest_of_a_client_manager_is_the_managers_own():
    manager = SeededClientManager(manager_of(*participants(2)), 1, 1)
    third = Proxy("third", "2")

    assert manager.register(third)
    assert manager.num_available() == len(manager.all()) == 3
    assert manager.wait_for(3, timeout=1)
    manager.unregister(third)
    assert manager.num_available() == 2


def test_with_too_few_updates_a_round_changes_nothing():
    one, other = reply("0", arrays([1, 1], 1)), reply("1", arrays([3, 3], 3))

    strategy = half(1)
    assert strategy.aggregate_fit(1, [one], []) == (None, {})
    assert strategy.refusal == "1 valid updates, 2 needed"
    parameters, _ = half(1).aggregate_fit(1, [one, other], [])
    assert parameters is not None
    np.testing.assert_array_equal(parameters_to_ndarrays(parameters)[0], [2, 2])


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_arrival_changes_no_bit(order):
    generator = np.random.default_rng(0)
    results = [reply(str(i), arrays(generator.normal(size=2).tolist(), 1), i + 1) for i in range(9)]
    scores = [evaluation(str(i), generator.normal(), i + 1) for i in range(9)]

    parameters, _ = half(1).aggregate_fit(1, results[::order], [])
    expected, _ = FedAvg().aggregate_fit(1, results, [])

    assert parameters is not None
    assert expected is not None
    assert parameters.tensors == expected.tensors
    loss, _ = half(1).aggregate_evaluate(1, scores[::order], [])
    assert loss == FedAvg().aggregate_evaluate(1, scores, [])[0]


def test_evaluations_without_examples_have_no_say():
    scores = [evaluation("0", 0.0, 0), evaluation("1", 2.0, 5)]

    assert half(1).aggregate_evaluate(1, scores, [])[0] == 2.0
    assert half(1).aggregate_evaluate(1, scores[:1], []) == (None, {})


def test_everything_else_is_the_strategys_own():
    strategy = half(1, initial_parameters=PARAMETERS, evaluate_fn=lambda *_: (3.0, {"a": 1}))

    assert repr(strategy) == repr(strategy.strategy)
    assert strategy.initialize_parameters(manager_of()) is PARAMETERS
    assert strategy.evaluate(1, PARAMETERS) == (3.0, {"a": 1})


def test_an_option_that_bulyan_does_not_have_is_refused_before_anything_is_trained():
    with pytest.raises(PartError, match=r"Bulyan.*no option num_malicious_nodes; it takes num_mal"):
        build_part("strategy", "Bulyan(num_malicious_nodes=3)")
    assert build_part("strategy", "Bulyan(to_keep=2)", accept_failures=False)


def after_a_lie(strategy: Any, lie: float) -> list[Any]:
    """One lying round, which is refused, and two honest ones: the weights after these."""
    seeded = SeededStrategy(strategy, 1)
    weights = []
    honest = [reply("0", arrays([1, 1], 1)), reply("1", arrays([3, 3], 3))]
    rounds = [[honest[0], reply("1", arrays([lie, lie], lie), 3)]] if lie else []
    for results in [*rounds, honest, honest]:
        with np.errstate(over="ignore", invalid="ignore"):
            parameters, _ = seeded.aggregate_fit(1, results, [])
        if parameters is None:
            assert results is not honest
            assert "not" in str(seeded.refusal)
            assert "finite" in str(seeded.refusal)
        else:
            assert results is honest
            weights.append([array.tolist() for array in parameters_to_ndarrays(parameters)])
    return weights


@pytest.mark.parametrize("lie", [1e22, 3e38])
@pytest.mark.parametrize("kind", [FedAdam, FedAdagrad, FedYogi])
def test_a_lie_that_overflows_the_moments_of_a_strategy_leaves_it_as_it_was(kind, lie):
    def strategy() -> Any:
        return kind(initial_parameters=PARAMETERS)

    assert after_a_lie(strategy(), lie) == after_a_lie(strategy(), 0)


def test_momentum_that_overflowed_is_not_carried_into_the_next_round():
    def strategy() -> Any:
        return FedAvgM(initial_parameters=PARAMETERS, server_momentum=0.9)

    assert after_a_lie(strategy(), 3.4e38) == after_a_lie(strategy(), 0)


class RemembersInPlace(FedAvg):
    """Counts into an array of its own, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = np.zeros(1)

    def aggregate_fit(self, *args: Any, **kwargs: Any) -> Any:
        self.counts += 1
        raise ZeroDivisionError


def test_a_strategy_that_fails_remembers_nothing_of_the_round():
    strategy = RemembersInPlace()

    with pytest.raises(ZeroDivisionError):
        SeededStrategy(strategy, 1).aggregate_fit(1, [reply("0", arrays([1, 1], 1))], [])

    assert strategy.counts == 0


class Returns(FedAvg):
    """Whatever it is given; remembers that it was called."""

    def __init__(self, *returned: Any) -> None:
        super().__init__()
        self.returned = ndarrays_to_parameters(list(returned))
        self.calls = 0

    def aggregate_fit(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.returned, {}


def aggregated(strategy: FedAvg) -> tuple[Any, str | None]:
    seeded = SeededStrategy(strategy, 1)
    seeded.configure_fit(1, PARAMETERS, manager_of(*participants(2)))
    return seeded.aggregate_fit(1, [reply("0", arrays([1, 1], 1))], [])[0], seeded.refusal


def test_weights_come_back_in_the_dtypes_of_the_model():
    doubled = [w.astype(np.float64) + 0.1 for w in W_T]

    parameters, refusal = aggregated(Returns(*doubled))

    assert refusal is None
    for got, w, wide in zip(parameters_to_ndarrays(parameters), W_T, doubled, strict=True):
        assert got.dtype == w.dtype
        np.testing.assert_array_equal(got, wide.astype(w.dtype))


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ([np.ones(3, np.float32)], "what the strategy returned has the shapes"),
        ([np.full_like(w, 1e39, np.float64) for w in W_T], "the aggregate is not finite"),
        ([np.array(["w"])], "what the strategy returned is no model"),
    ],
)
def test_what_is_no_model_changes_nothing_and_is_not_remembered(returned, says):
    strategy = Returns(*returned)

    parameters, refusal = aggregated(strategy)

    assert parameters is None
    assert says in str(refusal)
    assert strategy.calls == 0


class OwnNames(FedAvg):
    """Names its arguments as many tutorials do; Flower hands these on by position."""

    def aggregate_fit(self, rnd: Any, results: Any, failures: Any) -> Any:
        return super().aggregate_fit(rnd, results, failures)

    def aggregate_evaluate(self, rnd: Any, results: Any, failures: Any) -> Any:
        return super().aggregate_evaluate(rnd, results, failures)

    def evaluate(self, rnd: Any, parameters: Any) -> Any:
        return float(rnd), {}


def test_a_strategy_may_name_its_arguments_as_under_flower():
    seeded = SeededStrategy(OwnNames(), 1)

    parameters, _ = seeded.aggregate_fit(1, [reply("0", arrays([1, 1], 1))], [])
    loss, _ = seeded.aggregate_evaluate(1, [evaluation("0", 0.5, 2)], [])

    assert parameters is not None
    assert loss == 0.5
    assert seeded.evaluate(3, PARAMETERS) == (3.0, {})
