"""A round that is refused changes nothing at all: neither weights nor what the parts remember."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from numpy.typing import NDArray

from strategies import Aggregator, DeltaFedAvg
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate
from strategies.privacy.accountant import PrivacyLedger
from strategies.privacy.adaptive_clipping import AdaptiveClip
from strategies.privacy.gaussian_mean import PrivateMean
from strategies.registry import build_part
from tests.support.strategy_round import W_T, arrays, manager_of, participants, reply

HONEST = arrays([0.5, -0.25], 1.0)
OPTIMIZERS = [
    "adam(lr=0.1)",
    "adagrad(lr=0.1)",
    "yogi(lr=0.1)",
    "sgd(momentum=0.9)",
    "torch-adam(lr=0.1)",
    "torch-adagrad(lr=0.1)",
]


def run_round(strategy: DeltaFedAvg, server_round: int, weights: Arrays, *deltas: Arrays) -> Arrays:
    """Return the weights after a round with one update per delta."""
    strategy.configure_fit(
        server_round, ndarrays_to_parameters(weights), manager_of(*participants(len(deltas)))
    )
    results = [reply(str(index), delta) for index, delta in enumerate(deltas)]
    parameters, _ = strategy.aggregate_fit(server_round, results, [])
    return weights if parameters is None else parameters_to_ndarrays(parameters)


def of_few(**parts: Any) -> DeltaFedAvg:
    """A strategy that does not wait for a second participant."""
    return DeltaFedAvg(min_fit_clients=1, min_evaluate_clients=1, min_available_clients=1, **parts)


def same_arrays(left: Arrays, right: Arrays) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def assert_same(left: Mapping[str, NDArray[Any]], right: Mapping[str, NDArray[Any]]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


@pytest.mark.parametrize("lie", [1e22, 3e38])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_lies_that_overflow_an_optimizer_leave_it_as_it_was(flower_log, optimizer, lie):
    """1e22 squared is more than a float32 holds; the weights themselves may stay finite."""
    if (optimizer, lie) == ("sgd(momentum=0.9)", 1e22):
        lie = 2e38  # it takes no squares
    lied_to, spared = (
        of_few(server_optimizer=build_part("server-optimizer", optimizer)) for _ in range(2)
    )
    weights = run_round(lied_to, 1, W_T, HONEST, HONEST, HONEST)
    accepted = [(1, W_T, HONEST)]
    liar = arrays([lie, lie], lie)

    for server_round in range(2, 8):
        state = lied_to.parts.state()
        after = run_round(lied_to, server_round, weights, liar, liar, liar)
        if lied_to.refusal is not None:
            break
        accepted.append((server_round, weights, liar))
        weights = after
    assert same_arrays(after, weights)
    assert_same(lied_to.parts.state(), state)
    assert "changes nothing" in flower_log.text

    for earlier_round, sent, delta in accepted:
        run_round(spared, earlier_round, sent, delta, delta, delta)
    later = run_round(lied_to, 9, W_T, HONEST, HONEST, HONEST)
    expected = run_round(spared, 9, W_T, HONEST, HONEST, HONEST)
    assert same_arrays(later, expected)
    assert_same(lied_to.parts.state(), spared.parts.state())


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "yogi", "torch-adam", "torch-adagrad"])
def test_moments_that_would_not_be_finite_are_named(optimizer):
    strategy = of_few(server_optimizer=build_part("server-optimizer", optimizer))

    run_round(strategy, 1, W_T, arrays([1e22, 0.0], 1.0))

    assert "values of the state of the server-optimizer, 000000/" in str(strategy.refusal)
    assert all(np.isfinite(array).all() for array in strategy.parts.state().values())


class Remembering(Aggregator):
    """A mean that counts its rounds, and fails in the middle when it is told to."""

    def __init__(self) -> None:
        self.rounds = np.zeros(1)
        self.fails = False

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        self.rounds += 1  # in place: what was saved before must not see it
        if self.fails:
            raise AggregationError("not today")
        return weighted_mean(updates)

    def state(self) -> dict[str, NDArray[Any]]:
        return {"rounds": self.rounds}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.rounds = state["rounds"].copy()


def test_an_aggregator_goes_back_too_whether_it_fails_or_what_comes_after_it():
    aggregator = Remembering()
    strategy = of_few(
        aggregator=aggregator, server_optimizer=build_part("server-optimizer", "yogi")
    )
    run_round(strategy, 1, W_T, HONEST)

    run_round(strategy, 2, W_T, arrays([1e22, 0.0], 0.0))
    assert aggregator.rounds.tolist() == [1]
    aggregator.fails = True
    run_round(strategy, 3, W_T, HONEST)
    assert (aggregator.rounds.tolist(), strategy.refusal) == ([1], "not today")
    aggregator.fails = False
    run_round(strategy, 4, W_T, HONEST)
    assert (aggregator.rounds.tolist(), strategy.refusal) == ([2], None)


class Overflowing:
    """Whatever it is given, it returns infinities."""

    def step(self, weights: Arrays, delta: Arrays, lr_factor: float) -> Arrays:
        return [np.full_like(w, np.inf) for w in weights]


def test_the_clip_norm_of_a_refused_round_does_not_move_and_its_privacy_is_spent():
    saved: list[str] = []
    mean = PrivateMean(
        clip_norm=1.0,
        noise_multiplier=2.0,
        num_planned=2,
        ledger=PrivacyLedger(1e-5, saved.append),
        adaptive=AdaptiveClip(quantile=0.5, rate=0.2, num_planned=2, total=2.0),
    )
    strategy = of_few(aggregator=mean, server_optimizer=Overflowing())

    run_round(strategy, 1, W_T, HONEST, HONEST)

    assert "overflows" in str(strategy.refusal)
    assert mean.clip_norm == 1.0
    assert mean.ledger.epsilon() > 0
