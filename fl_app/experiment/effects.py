"""What a run config sets, and what has no effect in this run: said at its start, not refused."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import nn

from fl_app.core.plugins import OWN_DATA, SGD, is_own_strategy
from fl_app.core.run_config import DEFAULTS, RunConfig
from fl_app.experiment.combination import Facts, facts_about
from fl_app.tasks.model.federated_model import local_tensors
from strategies.flower_strategies import without_effect
from strategies.registry import keys_taken_by, known_name


class _Needs(NamedTuple):
    """Keys that count for something only under a condition."""

    keys: tuple[str, ...]
    condition: str
    holds: Callable[[RunConfig], bool]


def _partitioned_by(name: str, key: str) -> _Needs:
    def holds(config: RunConfig) -> bool:
        return config.dataset != OWN_DATA and known_name("partitioner", config.partitioner) == name

    return _Needs((key,), f'partitioner = "{name}"', holds)


def _option_of_the_task(key: str) -> _Needs:
    def holds(config: RunConfig) -> bool:
        return key in keys_taken_by("task", config.task)

    return _Needs((key,), "a task that takes it, as image-classification does", holds)


_NEEDS = (
    *map(
        _option_of_the_task,
        ("model", "pretrained-weights", "image-size", "image-channels", "augmentation"),
    ),
    _partitioned_by("dirichlet", "dirichlet-alpha"),
    _partitioned_by("shards", "shards-per-participant"),
    _partitioned_by("pathological", "classes-per-participant"),
    _Needs(("partitioner",), "a data set that is divided", lambda c: c.dataset != OWN_DATA),
    _Needs(
        ("class-names", "holdout-fraction", "image-mean", "image-std"),
        'dataset = "own"',
        lambda c: c.dataset == OWN_DATA,
    ),
    _Needs(("momentum",), 'local-optimizer = "sgd"', lambda c: c.local_optimizer == SGD),
    _Needs(("min-improvement",), "patience", lambda c: c.patience > 0),
    _Needs(
        ("adaptive-clip-rate",), "adaptive-clip-quantile", lambda c: c.adaptive_clip_quantile > 0
    ),
    _Needs(
        ("secure-shares", "secure-threshold", "secure-stage-deadline"),
        "secure-aggregation = true",
        lambda c: c.secure_aggregation,
    ),
)


def settings_without_effect(config: RunConfig) -> list[str]:
    """Say what a run config sets although it does nothing in this run, and why.

    Raises:
        ConfigError: If a part cannot be built.
    """
    settings = config.as_run_config()
    told = [
        f"{key} = {settings[key]} has no effect, it needs {needs.condition}"
        for needs in _NEEDS
        for key in needs.keys
        if settings[key] != DEFAULTS[key] and not needs.holds(config)
    ]
    return [*told, *_of_parts(facts_about(config))]


def central_score_of_local_parameters(
    config: RunConfig, model: nn.Module, has_test: bool
) -> list[str]:
    """Say so if the score that decides something is of parameters that the server does not have.

    Args:
        config: The run config.
        model: With what stays with the participants; see `keep_local`.
        has_test: Whether the server has a test set.
    """
    local = [held.names[0] for held in local_tensors(model)]
    central = config.monitor == "central" or (config.monitor == "auto" and has_test)
    if not local or not central:
        return []
    return [
        f"{len(local)} tensors stay with the participants, such as {local[0]}; the server's "
        "evaluation has their initial values, and decides what the best model is. Set "
        "monitor = 'federated' to go by the participants' evaluation, which has their own"
    ]


def _of_parts(facts: Facts) -> Iterator[str]:
    config, count = facts.config, facts.sampled
    key, name = "strategy", config.strategy
    if is_own_strategy(config.strategy):
        key, name = "aggregator", config.aggregator
        reason = None if facts.averages else facts.aggregator.without_effect(count)
    else:
        reason = None if facts.strategy is None else without_effect(facts.strategy, count)
    if key == "aggregator" and count == 1 and not facts.averages:
        reason = "one update is all there is to aggregate"
    if key == "aggregator" and count == 2 and known_name(key, name) == "median":
        reason = "of two updates it is their mean"
    if reason:
        yield f'{key} = "{name}" does no more than a plain mean in a round of {count}: {reason}'
    if config.over_selection > 0 and count >= config.num_participants:
        yield (
            f"over-selection = {config.over_selection} has no effect, all {count} participants "
            "are sampled already"
        )
