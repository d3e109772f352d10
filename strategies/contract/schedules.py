"""The laws of learning-rate schedules."""

import math

import numpy as np

from strategies.contract.comparisons import demand
from strategies.contract.laws import Build, Law

_LATE = (500, 1000, 2000, 10_000)  # a run may go on for long


def _is_a_factor(build: Build, generator: np.random.Generator) -> None:
    schedule = build()
    for server_round in [*range(1, 200), *_LATE]:
        factor = schedule(server_round)
        good = isinstance(factor, float) and 0 <= factor < math.inf
        demand(good, f"in round {server_round} it is {factor!r}, no float that is 0 or more")


def _depends_on_the_round_alone(build: Build, generator: np.random.Generator) -> None:
    in_order, schedule = build(), build()
    expected = {server_round: in_order(server_round) for server_round in range(1, 50)}
    again = [*expected, *expected]
    for server_round in generator.permutation(again).tolist():
        same = schedule(server_round) == expected[server_round]
        demand(same, f"in round {server_round} it depends on the rounds it was asked for before")


LAWS = (
    Law("it is a float, and not negative", _is_a_factor),
    Law("it depends on the round alone: a resumed run has no other", _depends_on_the_round_alone),
)
