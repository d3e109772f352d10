"""Run config -> the plain settings of local training, and of what is sent of it."""

from collections.abc import Callable

from fl_app.core.plugins import SGD, part
from fl_app.core.run_config import RunConfig
from fl_app.privacy.noise_calibration import protection
from fl_app.training.local.optimizers import LocalOptimizer
from fl_app.training.local.sgd import TrainingSettings
from fl_app.training.update_pipeline import PipelineSettings
from strategies.compression.codec import Codec
from strategies.compression.narrow_codec import NarrowCodec
from strategies.part_kinds import UNCODED
from strategies.registry import facts_of


def training_settings(config: RunConfig, server_round: int) -> TrainingSettings:
    """How a participant trains in a round, 1-based."""
    return TrainingSettings(
        epochs=config.local_epochs,
        batch_size=config.batch_size,
        learning_rate=local_learning_rate(config)(server_round),
        precision=config.precision,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        optimizer=_optimizer(config),
        gradient_clip=config.gradient_clip,
    )


def _optimizer(config: RunConfig) -> LocalOptimizer | None:
    """Return what makes the local optimizer; `None` is SGD, with its own loop."""
    if config.local_optimizer == SGD:
        return None
    optimizer: LocalOptimizer = part("local-optimizer", config.local_optimizer)
    return optimizer


def local_learning_rate(config: RunConfig) -> Callable[[int], float]:
    """Return the step size of local training by round, 1-based."""
    schedule = part("lr-schedule", config.lr_schedule)
    return lambda server_round: float(config.learning_rate * schedule(server_round))


def wire_codec(config: RunConfig, narrow: tuple[bool, ...]) -> Codec:
    """Return the codec of a run, which knows the model's dtypes where deltas travel as they are.

    Args:
        config: The run config.
        narrow: Of each tensor that travels, whether it is bfloat16; as `ModelSpec.narrow`.
    """
    codec: Codec = part("codec", config.codec)
    plain = UNCODED in facts_of("codec", config.codec) and not config.secure_aggregation
    return NarrowCodec(codec, narrow) if plain and any(narrow) else codec


def pipeline_settings(config: RunConfig) -> PipelineSettings:
    """What a participant adds to plain training, and how its delta travels."""
    return PipelineSettings(
        codec=part("codec", config.codec),
        error_feedback=config.error_feedback,
        proximal_mu=config.proximal_mu,
        scaffold=config.scaffold,
        protection=protection(config),
    )
