"""Run config -> the plain settings of what only the server runs."""

from fl_app.callbacks.best_model import Objective
from fl_app.callbacks.early_stopping import StopSettings
from fl_app.core.run_config import RunConfig
from fl_app.rounds.round_loop import WorkflowSettings
from fl_app.secure_aggregation.settings import secure_settings


def workflow_settings(config: RunConfig, dataset: str = "") -> WorkflowSettings:
    """Whom a run waits for, how long, and how updates travel."""
    return WorkflowSettings(
        num_participants=config.num_participants,
        min_fit_clients=config.min_fit_clients,
        round_deadline=config.round_deadline or None,
        quorum_deadline=config.quorum_deadline or None,
        evaluate_with_training=config.evaluate_with_training and config.fraction_evaluate > 0,
        dataset=dataset,
        secure=secure_settings(config),
    )


def stop_settings(config: RunConfig) -> StopSettings:
    """When a run ends, and what its best model is."""
    return StopSettings(
        objective=Objective(config.monitor, config.best_metric),
        target_accuracy=config.target_accuracy,
        target_loss=config.target_loss,
        patience=config.patience,
        min_improvement=config.min_improvement,
        update_tolerance=config.update_tolerance,
        time_budget=config.time_budget,
        max_failed_rounds=config.max_failed_rounds,
    )
