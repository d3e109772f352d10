from typing import Any

import pytest

from strategies.optimization.lr_schedules import Cosine, Exponential, Step, WarmUp, constant


def factors(schedule: Any, *rounds: int) -> list[float]:
    return [schedule(server_round) for server_round in rounds]


def test_schedules_by_hand():
    assert factors(constant, 1, 100) == [1, 1]
    assert factors(Exponential(0.5), 1, 2, 4) == [1, 0.5, 0.125]
    assert factors(Step(every=3, decay=0.1), 1, 3, 4, 6, 7) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    # Half a cosine over 4 steps: cos of 0, 45, 90, 135 and 180 degrees.
    half = 2**-0.5
    assert factors(Cosine(rounds=5, final=0.2), 1, 2, 3, 4, 5, 9) == pytest.approx(
        [1, 0.2 + 0.4 * (1 + half), 0.6, 0.2 + 0.4 * (1 - half), 0.2, 0.2]
    )
    assert factors(WarmUp(rounds=4), 1, 2, 4, 5) == [0.25, 0.5, 1, 1]


@pytest.mark.parametrize("schedule", [constant, Exponential(), Step(), Cosine(), WarmUp(1)])
def test_round_1_trains_with_the_learning_rate_as_it_is(schedule: Any):
    assert schedule(1) == 1


@pytest.mark.parametrize(
    ("build", "options", "reason"),
    [
        (Exponential, {"decay": 0.0}, "decay = 0.0 must be more than 0"),
        (Exponential, {"decay": 1.1}, "decay = 1.1"),
        (Step, {"every": 0}, "every = 0 must be at least 1"),
        (Cosine, {"rounds": 1}, "rounds = 1 must be at least 2"),
        (Cosine, {"final": 1.5}, "final = 1.5"),
        (WarmUp, {"rounds": 0}, "rounds = 0 must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(build: Any, options: dict[str, float], reason: str):
    with pytest.raises(ValueError, match=reason):
        build(**options)
