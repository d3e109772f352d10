"""A participant that says its memory is lost: what the server makes of it."""

import numpy as np
import pytest
from flwr.common import FitIns, ndarrays_to_parameters, parameters_to_ndarrays

from strategies import DeltaFedAvg
from strategies.core.state import ClientStateRounds
from strategies.optimization.scaffold import ControlVariate
from tests.support.strategy_round import W_T, aggregate, arrays, manager_of, participants, reply

STEPS = {"local-steps": 1.0}  # with learning rate 1, a control variate is -delta - c


def scaffold() -> DeltaFedAvg:
    control = ControlVariate(2, (True, True), lambda server_round: 1.0)
    return DeltaFedAvg(control_variate=control, client_state_rounds=ClientStateRounds())


def ask(strategy: DeltaFedAvg, server_round: int) -> list[FitIns]:
    manager = manager_of(*participants(2))
    sent = strategy.configure_fit(server_round, ndarrays_to_parameters(W_T), manager)
    return [ins for _, ins in sent]


def control_sent(ins: FitIns) -> list[float]:
    c = parameters_to_ndarrays(ins.parameters)[2:]
    return [*c[0].tolist(), c[1].tolist()]


def a_round(strategy: DeltaFedAvg, server_round: int, *lost: str) -> None:
    ask(strategy, server_round)
    deltas = {"0": arrays([2, 0], 0), "1": arrays([-6, 0], 0)}
    results = [
        reply(name, delta, **{"state-lost": name in lost}, **STEPS)
        for name, delta in deltas.items()
    ]
    assert strategy.aggregate_fit(server_round, results, [])[0] is not None


def test_with_scaffold_all_begin_anew_from_zero(flower_log):
    strategy = scaffold()
    a_round(strategy, 1)  # c_0 = -2, c_1 = 6: c = 2
    first, second = ask(strategy, 2)
    assert (control_sent(first), first.config["state-round"]) == ([2, 0, 0], 1)

    a_round(strategy, 2, "1")
    first, second = ask(strategy, 3)

    assert control_sent(first) == control_sent(second) == [0, 0, 0]
    assert (first.config["state-round"], second.config["state-round"]) == (0, 0)
    assert "participant 1 remembered of the run is lost; SCAFFOLD's control" in flower_log.text

    a_round(strategy, 3)  # from c = c_i = 0 again: what it was after round 1
    first, second = ask(strategy, 4)
    assert (control_sent(first), second.config["state-round"]) == ([2, 0, 0], 3)


def test_an_update_that_does_not_count_loses_nothing():
    strategy = scaffold()
    a_round(strategy, 1)
    ask(strategy, 2)
    aggregate(strategy, reply("1", arrays([np.nan, 0], 0), **{"state-lost": True}, **STEPS))

    first, _ = ask(strategy, 3)

    assert (control_sent(first), first.config["state-round"]) == ([2, 0, 0], 1)


@pytest.mark.parametrize("steps", [1e-300, 1e-40])
def test_who_would_make_the_control_infinite_is_left_out_of_weights_and_control(steps):
    strategy = scaffold()
    ask(strategy, 1)

    new, _ = aggregate(
        strategy,
        reply("0", arrays([2, 0], 0), **STEPS),
        reply("1", arrays([-6, 0], 0), **{"local-steps": steps}),
    )

    np.testing.assert_array_equal(new[0], [3, 2])
    assert [error.participant for error in strategy.rejections] == ["1"]
    assert control_sent(ask(strategy, 2)[0]) == [-1, 0, 0]


def test_without_scaffold_it_is_said_and_concerns_nobody_else(flower_log):
    strategy = DeltaFedAvg(client_state_rounds=ClientStateRounds())
    a_round(strategy, 1)

    a_round(strategy, 2, "1")

    assert [ins.config["state-round"] for ins in ask(strategy, 3)] == [2, 2]
    assert "participant 1 remembered of the run is lost: what its codec" in flower_log.text
