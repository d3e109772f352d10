"""Run config -> the plain settings of each component, which never sees the whole config.

What only the server needs is in `fl_app.experiment.settings`.
"""

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.data.local_files.schema import same_class
from fl_app.data.partition import PartitionSpec
from fl_app.tasks.registry import build_model


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


def own_images(config: RunConfig) -> tuple[tuple[str, ...], tuple[int, int, int]]:
    """Return what participants with their own data agreed on, after a look at the model.

    Returns:
        The class names, by label, and the shape (C, H, W) of the images that the model takes.

    Raises:
        ConfigError: As `class_names` does, or if the model has fewer classes, or does not say
            which images it takes.
    """
    names = class_names(config)
    model = build_model(config.model, config.seed)
    num_classes = getattr(model, "num_classes", None)
    if num_classes is not None and len(names) > num_classes:
        raise ConfigError(
            f"run config: class-names has {len(names)} names, the model {config.model} tells "
            f"{num_classes} classes apart"
        )
    shape = getattr(model, "image_shape", None)
    if shape is None:
        raise ConfigError(
            f"run config: the model {config.model} has no image_shape (C, H, W), which "
            "dataset = 'own' needs to check images against"
        )
    channels, height, width = shape
    return names, (channels, height, width)


def class_names(config: RunConfig) -> tuple[str, ...]:
    """Return the class names of the run config, by label.

    Raises:
        ConfigError: If a name is empty or comes twice, or two stand for one folder.
    """
    names = tuple(name.strip() for name in config.class_names.split(","))
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(
            f"run config: class-names = {config.class_names!r} has an empty name, or one twice"
        )
    if twice := same_class(names):
        raise ConfigError(
            f"run config: the class-names {twice[0]!a} and {twice[1]!a} stand for one folder of "
            "pictures; make each unique"
        )
    return names
