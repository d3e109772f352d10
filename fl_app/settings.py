"""Run config -> the plain settings of each component, which never sees the whole config.

What only the server needs is in `fl_app.server_settings`.
"""

from collections.abc import Callable
from typing import Any

from fl_app.config import RunConfig
from fl_app.contribution import ContributionSettings
from fl_app.errors import ConfigError
from fl_app.local_sgd import TrainingSettings
from fl_app.models import build_model
from fl_app.partition import PartitionSpec
from fl_app.privacy_settings import protection
from strategies.registry import PartError, build_part


def training_settings(config: RunConfig, server_round: int) -> TrainingSettings:
    """How a participant trains in a round, 1-based."""
    return TrainingSettings(
        epochs=config.local_epochs,
        batch_size=config.batch_size,
        learning_rate=local_learning_rate(config)(server_round),
        precision=config.precision,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def local_learning_rate(config: RunConfig) -> Callable[[int], float]:
    """Return the step size of local training by round, 1-based."""
    schedule = part("lr-schedule", config.lr_schedule)
    return lambda server_round: float(config.learning_rate * schedule(server_round))


def contribution_settings(config: RunConfig) -> ContributionSettings:
    """What a participant adds to plain training, and how its delta travels."""
    return ContributionSettings(
        codec=part("codec", config.codec),
        error_feedback=config.error_feedback,
        proximal_mu=config.proximal_mu,
        scaffold=config.scaffold,
        protection=protection(config),
    )


def part(kind: str, text: str, **given: Any) -> Any:  # noqa: ANN401 - each kind has its own
    """Build a part of the pipeline by the name that the run config has for it.

    Raises:
        ConfigError: If there is no such part, or it does not take these options.
    """
    try:
        return build_part(kind, text, **given)
    except PartError as error:
        raise ConfigError(f"run config: {error}") from error


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


def class_names(config: RunConfig) -> tuple[str, ...]:
    """Return the class names that participants with their own data agreed on, by label.

    Raises:
        ConfigError: If a name is empty or comes twice, or the model has fewer classes.
    """
    names = tuple(name.strip() for name in config.class_names.split(","))
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(
            f"run config: class-names = {config.class_names!r} has an empty name, or one twice"
        )
    num_classes = getattr(build_model(config.model, config.seed), "num_classes", None)
    if num_classes is not None and len(names) > num_classes:
        raise ConfigError(
            f"run config: class-names has {len(names)} names, the model {config.model} tells "
            f"{num_classes} classes apart"
        )
    return names


def image_shape(config: RunConfig) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of the images that the model takes.

    Raises:
        ConfigError: If the model does not say.
    """
    shape = getattr(build_model(config.model, config.seed), "image_shape", None)
    if shape is None:
        raise ConfigError(
            f"run config: the model {config.model} has no image_shape (C, H, W), which "
            "dataset = 'own' needs to check images against"
        )
    channels, height, width = shape
    return channels, height, width
