"""Run config -> the plain settings of what only the server runs."""

import math
from collections.abc import Iterator, Mapping

from fl_app.callbacks.best_model import Objective
from fl_app.callbacks.early_stopping import StopSettings
from fl_app.core.errors import ConfigError
from fl_app.core.metrics import LOSS, Metric
from fl_app.core.run_config import RunConfig
from fl_app.rounds.settings import WorkflowSettings
from fl_app.secure_aggregation.settings import secure_settings
from fl_app.tasks.server_data import ServerData

AUTO = "auto"


def workflow_settings(config: RunConfig, data: ServerData) -> WorkflowSettings:
    """Whom a run waits for, how long, and how updates travel."""
    partition = data.partition
    return WorkflowSettings(
        num_participants=config.num_participants,
        min_fit_clients=config.min_fit_clients,
        round_deadline=config.round_deadline or None,
        quorum_deadline=config.quorum_deadline or None,
        evaluate_with_training=config.evaluate_with_training and config.fraction_evaluate > 0,
        dataset=data.name,
        secure=secure_settings(config),
        names=None if partition is None else partition.names,
        metrics=data.task.metrics,
        agreement=data.agreement,
    )


def stop_settings(config: RunConfig, metrics: Mapping[str, Metric]) -> StopSettings:
    """When a run ends, and what its best model is.

    Args:
        config: The run config.
        metrics: The task's, by name, the loss among them.

    Raises:
        ConfigError: If a metric is named that the task does not have.
    """
    best = next(iter(metrics)) if config.best_metric == AUTO else config.best_metric
    return StopSettings(
        objective=_objective(config, "best-metric", best, metrics),
        targets=tuple(
            (_objective(config, key, name, metrics), value) for key, name, value in _targets(config)
        ),
        patience=config.patience,
        min_improvement=config.min_improvement,
        update_tolerance=config.update_tolerance,
        time_budget=config.time_budget,
        max_failed_rounds=config.max_failed_rounds,
    )


def _objective(config: RunConfig, key: str, name: str, metrics: Mapping[str, Metric]) -> Objective:
    if name not in metrics:
        raise ConfigError(
            f"run config: {key} names the metric {name!r}, which the task {config.task!r} does not "
            f"have; it has {', '.join(metrics)}"
        )
    return Objective(config.monitor, name, metrics[name])


def _targets(config: RunConfig) -> Iterator[tuple[str, str, float]]:
    """Yield the key, the metric and the value of each target."""
    if config.target_accuracy > 0:
        yield "target-accuracy", "accuracy", config.target_accuracy
    if config.target_loss > 0:
        yield "target-loss", LOSS, config.target_loss
    for text in filter(None, map(str.strip, config.target.split(","))):
        name, _, written = text.partition("=")
        try:
            value = float(written)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(
                f"run config: target = {config.target!r}: {text!r} is not a metric with a number; "
                "write for instance auc=0.8"
            )
        yield "target", name.strip(), value
