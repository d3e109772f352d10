"""Numbers worked out by hand, Flower's own strategies on the same deltas, and torch's state."""

from typing import Any

import numpy as np
import pytest
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy import FedAdagrad, FedAdam, FedAvgM, FedYogi
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies import DeltaFedAvg
from strategies.contract import server_optimizers as laws
from strategies.core.client_update import Arrays
from strategies.core.state import PartWithState
from strategies.optimization.server_optimizers import (
    ServerOptimizer,
    TorchOptimizer,
    adagrad,
    adam,
    plain,
    sgd,
    step_trainable,
    torch_adagrad,
    torch_adam,
    yogi,
)
from strategies.part_kinds import KINDS
from strategies.registry import build_part

every_optimizer = pytest.mark.parametrize("name", KINDS["server-optimizer"].names)
values = st.floats(-100, 100, width=32)


def array(*numbers: float) -> Arrays:
    return [np.array(numbers, np.float32)]


def stepped(optimizer: ServerOptimizer, *deltas: Arrays, weights: Arrays | None = None) -> Any:
    """The weights after a step along each delta, from 0 by default."""
    reached = weights or [np.zeros_like(d) for d in deltas[0]]
    for delta in deltas:
        reached = optimizer.step(reached, delta, 1.0)
    return reached[0]


@given(hnp.arrays(np.float32, (2, 7), elements=values))
def test_sgd_with_learning_rate_1_is_plain_averaging_to_the_bit(pair):
    weights, delta = [pair[0]], [pair[1]]

    moved = sgd().step(weights, delta, 1.0)

    assert moved[0].tobytes() == plain(weights, delta)[0].tobytes()


def test_momentum_by_hand():
    # v = 1, then 0.5 * 1 + 2 = 2.5; w = 1, then 3.5. Nesterov adds 0.5 * v to the delta:
    # 1 + 0.5 * 1 = 1.5, then 2 + 0.5 * 2.5 = 3.25.
    assert stepped(sgd(momentum=0.5), array(1.0), array(2.0)) == 3.5
    assert stepped(sgd(momentum=0.5, nesterov=True), array(1.0), array(2.0)) == 4.75
    assert stepped(sgd(lr=0.1, momentum=0.5), array(1.0), array(2.0)) == pytest.approx(0.35)


def test_weight_decay_by_hand():
    # The pseudo-gradient is -1 + 0.5 * 4 = 1.
    assert stepped(sgd(weight_decay=0.5), array(1.0), weights=array(4.0)) == 3


def test_fedadam_by_hand():
    # m = 0.5 * 0 + 0.5 * 2 = 1, v = 0.75 * tau^2 + 0.25 * 4 = 3 * 0.25 + 1 = 1.75 with tau = 1;
    # that is 0.75 * 1 + 1 = 1.75: w = 0.1 * 1 / (sqrt(1.75) + 1).
    # Then m = 0.5 + 0.5 * 4 = 2.5, v = 0.75 * 1.75 + 0.25 * 16 = 5.3125.
    optimizer = adam(lr=0.1, beta1=0.5, beta2=0.75, tau=1.0)
    first = 0.1 / (1.75**0.5 + 1)

    assert stepped(optimizer, array(2.0)) == pytest.approx(first)
    second = optimizer.step(array(first), array(4.0), 1.0)
    assert second[0] == pytest.approx(first + 0.25 / (5.3125**0.5 + 1))


def test_fedadagrad_by_hand():
    # m = 0.5 * 2 = 1, v = 1 + 4 = 5; then m = 0.5 + 0.5 * 4 = 2.5, v = 5 + 16 = 21.
    moved = stepped(adagrad(lr=0.1, beta1=0.5, tau=1.0), array(2.0), array(4.0))

    assert moved == pytest.approx(0.1 / (5**0.5 + 1) + 0.25 / (21**0.5 + 1))


def test_fedyogi_by_hand():
    # v = 1 - 0.25 * 4 * sign(1 - 4) = 2; then 2 - 0.25 * 0.25 * sign(2 - 0.25) = 1.9375.
    # m = 1, then 0.5 + 0.5 * 0.5 = 0.75.
    moved = stepped(yogi(lr=0.1, beta1=0.5, beta2=0.75, tau=1.0), array(2.0), array(0.5))

    assert moved == pytest.approx(0.1 / (2**0.5 + 1) + 0.075 / (1.9375**0.5 + 1))


def test_torchs_adam_corrects_the_bias_where_the_papers_does_not():
    # Corrected, m = delta and v = delta^2 in the first step, so it is lr whatever the delta.
    assert stepped(torch_adam(lr=0.1, tau=1e-9), array(2.0)) == pytest.approx(0.1)
    assert stepped(adam(lr=0.1, tau=1e-9), array(2.0)) == pytest.approx(0.1 * 0.1 / 0.1)
    # 0.1 * 2 / sqrt(4), and 0.1 * 2 / sqrt(5 + 4)
    assert stepped(torch_adagrad(lr=0.1, tau=1e-9), array(2.0)) == pytest.approx(0.1)
    assert stepped(torch_adagrad(lr=0.1, initial=5.0), array(2.0)) == pytest.approx(
        0.2 / 3, rel=1e-3
    )


def flowers(strategy: Any, deltas: list[Arrays]) -> Arrays:
    """The weights that a strategy of Flower's reaches from 0 when participants send those."""
    weights = [np.zeros_like(d) for d in deltas[0]]
    for server_round, delta in enumerate(deltas, start=1):
        sent = ndarrays_to_parameters([w + d for w, d in zip(weights, delta, strict=True)])
        result: Any = (None, FitRes(Status(Code.OK, ""), sent, 1, {}))
        parameters, _ = strategy.aggregate_fit(server_round, [result], [])
        weights = parameters_to_ndarrays(parameters)
    return weights


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            sgd(lr=0.5, momentum=0.9),
            lambda start: FedAvgM(
                initial_parameters=start, server_learning_rate=0.5, server_momentum=0.9
            ),
        ),
        (
            adagrad(lr=0.1, beta1=0.0, tau=1e-9),
            lambda start: FedAdagrad(initial_parameters=start, eta=0.1, tau=1e-9),
        ),
        (
            yogi(lr=0.1, beta1=0.9, beta2=0.99, tau=1e-9),
            lambda start: FedYogi(initial_parameters=start, eta=0.1, beta_1=0.9, tau=1e-9),
        ),
    ],
    ids=["FedAvgM", "FedAdagrad", "FedYogi"],
)
def test_flowers_own_strategies_agree(ours: ServerOptimizer, theirs: Any):
    generator = np.random.default_rng(0)
    deltas = [[generator.standard_normal((4, 3)).astype(np.float32)] for _ in range(5)]
    start = ndarrays_to_parameters([np.zeros((4, 3), np.float32)])

    np.testing.assert_allclose(
        stepped(ours, *deltas), flowers(theirs(start), deltas)[0], rtol=1e-4, atol=1e-6
    )


def test_flowers_fedadam_corrects_the_bias_in_its_learning_rate():
    # It multiplies eta by sqrt(1 - beta2^(t + 1)) / (1 - beta1^(t + 1)), which the paper has not.
    deltas = [array(2.0), array(-1.0), array(0.5)]
    start = ndarrays_to_parameters(array(0.0))
    ours, reached = adam(lr=1.0, tau=1e-9), array(0.0)
    for t, delta in enumerate(deltas, start=1):
        corrected = (1 - 0.99 ** (t + 1)) ** 0.5 / (1 - 0.9 ** (t + 1))
        reached = ours.step(reached, delta, corrected)

    theirs = flowers(FedAdam(initial_parameters=start, eta=1.0, tau=1e-9), deltas)
    np.testing.assert_allclose(reached[0], theirs[0], rtol=1e-4)


@every_optimizer
@given(
    pair=hnp.arrays(np.float32, (2, 5), elements=values),
    more=st.lists(hnp.arrays(np.float32, 5, elements=values), min_size=2, max_size=5),
)
def test_the_laws_of_server_optimizers(name, pair, more):
    def make() -> ServerOptimizer:
        optimizer: ServerOptimizer = build_part("server-optimizer", name)
        return optimizer

    weights, delta = [pair[0]], [pair[1]]
    laws.has_the_form_of_the_weights(make, weights, delta)
    laws.leaves_what_it_is_given_alone(make, weights, delta)
    laws.obeys_the_schedule(make, weights, delta)
    laws.goes_on_from_its_state(make, weights, [[d] for d in more])


def test_the_schedule_is_a_factor_on_one_steps_learning_rate():
    optimizer = sgd(lr=0.5)

    assert optimizer.step(array(0.0), array(1.0), 0.5)[0] == 0.25
    assert optimizer.step(array(0.0), array(1.0), 1.0)[0] == 0.5


def test_an_optimizer_moves_what_is_trained_and_buffers_move_by_addition():
    optimizer = sgd(lr=10.0, momentum=0.5)
    weights = [*array(1.0), *array(2.0)]
    delta = [*array(0.5), *array(-0.5)]

    parameter, buffer = step_trainable(optimizer, weights, delta, 1.0, [True, False])

    assert (parameter.tolist(), buffer.tolist()) == ([6.0], [1.5])
    assert isinstance(optimizer, PartWithState)
    assert set(optimizer.state()) == {"000000/momentum_buffer"}


def test_what_remembers_nothing_still_remembers_nothing():
    class Stateless:
        def step(self, weights: Arrays, delta: Arrays, lr_factor: float) -> Arrays:
            return plain(weights, delta)

    assert DeltaFedAvg(server_optimizer=Stateless()).parts.state() == {}
    assert not isinstance(Stateless(), PartWithState)
    assert isinstance(sgd(), PartWithState)


@pytest.mark.parametrize(
    ("build", "options", "reason"),
    [
        (sgd, {"lr": -1.0}, "lr = -1.0 must be a number from 0 to 3.4e"),
        (sgd, {"lr": 1e39}, r"lr = 1e\+39 must be a number from 0 to 3.4e"),
        (sgd, {"lr": float("nan")}, "lr = nan"),
        (sgd, {"momentum": 1.0}, "momentum = 1.0 must be at least 0 and less than 1"),
        (adam, {"tau": 0.0}, "tau = 0.0 must be more than 0"),
        (yogi, {"beta2": 1.0}, "beta2 = 1.0"),
        (torch_adagrad, {"initial": -1.0}, "initial = -1.0"),
    ],
)
def test_options_out_of_range_are_refused(build: Any, options: dict[str, float], reason: str):
    with pytest.raises(ValueError, match=reason):
        build(**options)


def test_any_optimizer_of_torch_is_one():
    import torch

    optimizer = TorchOptimizer(lambda tensors: torch.optim.Rprop(tensors, lr=0.25))

    assert stepped(optimizer, array(3.0, -7.0)).tolist() == [0.25, -0.25]
