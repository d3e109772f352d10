"""What each component is told of the run config."""

import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.tasks.registry import task_of
from fl_app.training.settings import training_settings


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.2, 0.2, 0.2]),
        ("exponential(decay=0.5)", [0.2, 0.1, 0.05]),
        ("warm-up(rounds=2)", [0.1, 0.2, 0.2]),
    ],
)
def test_the_schedule_is_a_factor_on_the_local_learning_rate(run_config, schedule, rates):
    config = RunConfig.from_run_config(run_config | {"learning-rate": 0.2, "lr-schedule": schedule})

    assert [training_settings(config, r).learning_rate for r in (1, 2, 3)] == pytest.approx(rates)


def test_momentum_and_weight_decay_reach_local_training(run_config):
    config = RunConfig.from_run_config(run_config | {"momentum": 0.9, "weight-decay": 1e-4})

    settings = training_settings(config, 1)

    assert (settings.momentum, settings.weight_decay) == (0.9, 1e-4)


def test_class_names_that_stand_for_one_folder_are_refused_before_the_first_round(run_config):
    names = "caf\N{LATIN SMALL LETTER E WITH ACUTE},cafe\N{COMBINING ACUTE ACCENT}"
    config = RunConfig.from_run_config(run_config | {"dataset": "own", "class-names": names})

    with pytest.raises(ConfigError, match="stand for one folder"):
        task_of(config).check_own_data()
