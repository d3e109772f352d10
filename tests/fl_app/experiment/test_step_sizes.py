"""Step sizes that would end a run late, or climb the loss without a word."""

import math
from pathlib import Path
from typing import Any

import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.experiment.compatibility import check_compatibility
from scripts.repository import default_run_config

SCHEDULES = """
import numpy as np

def negative(server_round): return -1.0
def nothing(server_round): return None
def undefined(server_round): return float("nan")
def endless(server_round): return float("inf")
def word(server_round): return "1"
def truth(server_round): return True
def late(server_round): return 1.0 if server_round < 5 else -1.0
def fails(server_round): return 1 / abs(server_round - 3)
def half(server_round): return np.float32(0.5)
def zero(server_round): return 0
def few(server_round): return [1.0, 0.5, 0.1][server_round - 1]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "schedules.py"
    path.write_text(SCHEDULES)
    return path


def check(**changes: Any) -> None:
    keys = {key.replace("_", "-"): value for key, value in changes.items()}
    check_compatibility(RunConfig.from_run_config({**default_run_config(), **keys}))


@pytest.mark.parametrize("key", ["lr_schedule", "server_lr_schedule"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("negative", "returns -1.0 in round 1"),
        ("nothing", "returns None in round 1"),
        ("undefined", "returns nan in round 1"),
        ("endless", "returns inf in round 1"),
        ("word", "returns '1' in round 1"),
        ("truth", "returns True in round 1"),
        ("late", "returns -1.0 in round 5"),
        ("fails", "fails with ZeroDivisionError: division by zero in round 3"),
        ("few", "fails with IndexError: list index out of range in round 4"),
    ],
)
def test_a_schedule_that_is_no_factor_is_refused(own, key, name, says):
    with pytest.raises(ConfigError, match=says):
        check(**{key: f"{own}:{name}"})


@pytest.mark.parametrize("name", ["half", "zero"])
def test_numbers_of_other_kinds_will_do(own, name):
    check(lr_schedule=f"{own}:{name}", server_lr_schedule=f"{own}:{name}")


def test_rounds_that_do_not_come_are_not_asked_for(own):
    check(lr_schedule=f"{own}:few", num_server_rounds=3)


def test_a_million_rounds_are_not_all_tried(own):
    with pytest.raises(ConfigError, match="in round 5"):
        check(lr_schedule=f"{own}:late", num_server_rounds=10**9)
    check(lr_schedule="cosine(rounds=7)", num_server_rounds=10**9)


@pytest.mark.parametrize("mu", [200.0, 300.0, 1e300])
def test_a_proximal_term_that_throws_weights_back_is_refused(mu):
    with pytest.raises(ConfigError, match=r"learning-rate = 0.01 times proximal-mu = \S+ is 2 or"):
        check(learning_rate=0.01, proximal_mu=mu)


def test_a_proximal_term_that_pulls_is_not():
    check(learning_rate=0.01, proximal_mu=math.nextafter(200.0, 0.0))
