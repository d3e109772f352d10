"""Run config -> the plain settings of each component, which never sees the whole config."""

from fl_app.config import RunConfig
from fl_app.partition import PartitionSpec
from fl_app.stopping import Objective, StopSettings
from fl_app.training import TrainingSettings
from fl_app.workflow import WorkflowSettings


def training_settings(config: RunConfig) -> TrainingSettings:
    """How a participant trains."""
    return TrainingSettings(
        epochs=config.local_epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
    )


def partition_spec(config: RunConfig) -> PartitionSpec:
    """Who holds which examples."""
    return PartitionSpec(
        name=config.partitioner,
        num_partitions=config.num_participants,
        seed=config.seed,
        dirichlet_alpha=config.dirichlet_alpha,
        shards_per_participant=config.shards_per_participant,
        classes_per_participant=config.classes_per_participant,
    )


def workflow_settings(config: RunConfig) -> WorkflowSettings:
    """Whom a run waits for, and how long."""
    return WorkflowSettings(
        num_participants=config.num_participants,
        min_fit_clients=config.min_fit_clients,
        round_deadline=config.round_deadline or None,
        quorum_deadline=config.quorum_deadline or None,
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
