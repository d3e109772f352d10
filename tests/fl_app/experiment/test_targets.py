"""At which values of which metrics a run is to end: the keys `target...` and best-metric."""

from typing import Any

import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import ACCURACY, LOSS, LOSS_METRIC, Metric
from fl_app.core.run_config import DEFAULTS, RunConfig
from fl_app.experiment.settings import stop_settings

METRICS = {"auc": Metric("higher"), "accuracy": ACCURACY, LOSS: LOSS_METRIC}


def targets_of(**changes: Any) -> list[tuple[str, float]]:
    keys = {key.replace("_", "-"): value for key, value in changes.items()}
    config = RunConfig.from_run_config({**DEFAULTS, **keys})
    return [(objective.name, value) for objective, value in stop_settings(config, METRICS).targets]


def test_every_target_is_one() -> None:
    found = targets_of(target="auc=0.8, loss = 0.1", target_accuracy=0.9, target_loss=0.2)
    assert sorted(found) == [("accuracy", 0.9), ("auc", 0.8), ("loss", 0.1), ("loss", 0.2)]
    assert targets_of() == []


@pytest.mark.parametrize("target", ["auc", "auc=", "auc=high", "auc=nan", "auc=inf", "auc 0.8"])
def test_a_target_is_a_metric_with_a_finite_number(target: str) -> None:
    with pytest.raises(ConfigError, match="is not a metric with a number; write for instance"):
        targets_of(target=target)


def test_a_target_of_a_metric_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"target names the metric 'f1'.*it has auc, accuracy"):
        targets_of(target="f1=0.5")


@pytest.mark.parametrize(("said", "meant"), [("auto", "auc"), ("loss", "loss")])
def test_the_best_model_goes_by_the_first_metric_or_the_one_that_is_named(
    said: str, meant: str
) -> None:
    config = RunConfig.from_run_config({**DEFAULTS, "best-metric": said})
    assert stop_settings(config, METRICS).objective.name == meant
