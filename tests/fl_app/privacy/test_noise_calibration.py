import math
from typing import Any

import pytest

from fl_app.core.run_config import RunConfig
from fl_app.privacy.noise_calibration import noise_multiplier, planned_participants, protection
from fl_app.training.settings import pipeline_settings
from scripts.repository import default_run_config
from strategies import DeltaFedAvg
from strategies.core.clients import sample_names
from strategies.privacy.accountant import epsilon_of


def config(**changes: Any) -> RunConfig:
    named = {key.replace("_", "-"): value for key, value in changes.items()}
    return RunConfig.from_run_config(default_run_config() | named)


def private(**changes: Any) -> RunConfig:
    return config(**({"privacy": "central", "clip_norm": 2.0, "target_epsilon": 4.0} | changes))


def test_clipping_alone_is_no_privacy():
    assert not protection(config()).private
    assert protection(config(clip_norm=2.0)).clip_norm == 2.0
    assert not protection(config(clip_norm=2.0)).private
    assert pipeline_settings(config(clip_norm=2.0)).protection.clip_norm == 2.0


def test_in_central_mode_participants_clip_and_add_no_noise():
    found = protection(private())

    assert (found.clip_norm, found.noise_multiplier, found.private) == (2.0, 0.0, True)


def test_in_distributed_mode_a_share_of_the_variance_is_every_participants():
    found = protection(private(privacy="distributed", noise_multiplier=3.0, fraction_fit=0.9))

    assert found.noise_multiplier == pytest.approx(3.0 / math.sqrt(9))


@pytest.mark.parametrize(
    "changes",
    [{}, {"fraction_fit": 0.55}, {"fraction_fit": 0.1, "min_fit_clients": 4}],
)
def test_as_many_are_planned_with_as_the_strategy_samples(changes):
    run = config(**changes)
    strategy = DeltaFedAvg(
        fraction_fit=run.fraction_fit,
        min_fit_clients=run.min_fit_clients,
        min_available_clients=run.min_fit_clients,
    )

    assert planned_participants(run) == strategy.num_needed(run.num_participants)


def test_noise_that_is_set_is_not_solved():
    assert noise_multiplier(private(noise_multiplier=1.5)) == 1.5


@pytest.mark.parametrize("fraction", [1.0, 0.3])
def test_the_noise_is_solved_for_the_rounds_of_whom_the_seed_samples_most_often(fraction):
    run = private(fraction_fit=fraction, num_server_rounds=20)
    counts = dict.fromkeys("0123456789", 0)
    for server_round in range(1, 21):
        names = sample_names(counts, int(10 * fraction), seed=run.seed, server_round=server_round)
        for name in names:
            counts[name] += 1
    most = max(counts.values())

    z = noise_multiplier(run)

    assert epsilon_of(most * z**-2, run.privacy_delta) == pytest.approx(4.0, rel=1e-6)
    assert (most == 20) == (fraction == 1.0)


def test_whoever_is_sampled_in_reserve_may_come_to_count():
    plain = noise_multiplier(private(fraction_fit=0.3))
    reserve = noise_multiplier(private(fraction_fit=0.3, over_selection=1.0))

    assert reserve > plain
