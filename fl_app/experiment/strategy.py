"""Run config -> the strategy: the one of this project with its parts, or one of Flower's."""

from collections.abc import Callable
from functools import partial
from logging import WARNING
from typing import Any

from flwr.common import NDArrays, Scalar, ndarrays_to_parameters
from flwr.common.logger import log
from flwr.server.strategy import Strategy
from torch import nn

from fl_app.core.errors import ConfigError
from fl_app.core.plugins import OWN_STRATEGY, is_own_strategy, part
from fl_app.core.run_config import RunConfig
from fl_app.experiment.combination import aggregator
from fl_app.messaging.fit_config import (
    AGREEMENT_KEY,
    DATASET_KEY,
    EVALUATE_KEY,
    MEASURES_KEY,
    ROUND_KEY,
    RUN_KEY,
    TRAIN_MEASURES_KEY,
    model_told,
)
from fl_app.messaging.replies import merged_metrics
from fl_app.tasks.model.federated_model import local_tensors, model_spec
from fl_app.tasks.model.parameters import get_weights, set_weights
from fl_app.tasks.server_data import ServerData
from fl_app.training.local.local_training import evaluate, resolve_device
from fl_app.training.settings import local_learning_rate, pipeline_settings, wire_codec
from strategies import DeltaFedAvg
from strategies.core.client_update import Arrays
from strategies.core.model_spec import ModelSpec
from strategies.core.state import ClientStateRounds, StrategyState
from strategies.flower_strategies import SeededStrategy
from strategies.optimization.scaffold import ControlVariate
from strategies.part_kinds import STATELESS
from strategies.privacy.gaussian_mean import PrivateMean
from strategies.registry import facts_of


def build_strategy(
    config: RunConfig,
    model: nn.Module,
    data: ServerData,
    run: str,
    weights: Arrays | None = None,
    private_mean: PrivateMean | None = None,
) -> Strategy:
    """Build the strategy that a run config describes.

    Args:
        config: The run config.
        model: A model with the initial weights.
        data: Its name goes to the participants; its test set, if any, is evaluated on.
        run: The name of the run, for what participants remember.
        weights: The global weights to start from, if not the model's.
        private_mean: The aggregator where privacy is on.

    Raises:
        ConfigError: If a part cannot be built.
    """
    spec, known = model_spec(model), data.task.metrics
    local = [held.names[0] for held in local_tensors(model)]

    told: dict[str, Scalar] = {DATASET_KEY: data.name, **model_told(spec), RUN_KEY: run}
    told |= {AGREEMENT_KEY: data.agreement} if data.agreement else {}

    def fit_config(server_round: int) -> dict[str, Scalar]:
        received = config.evaluate_with_training and server_round > 1
        clip_norm = {} if private_mean is None else private_mean.instruction()
        return {**clip_norm, **told, ROUND_KEY: server_round, EVALUATE_KEY: received}

    common: dict[str, Any] = {
        "fraction_fit": config.fraction_fit,
        "fraction_evaluate": config.fraction_evaluate,
        "min_fit_clients": config.min_fit_clients,
        "min_evaluate_clients": 1,
        "min_available_clients": config.min_fit_clients,
        "initial_parameters": ndarrays_to_parameters(weights or get_weights(model)),
        "evaluate_fn": _evaluation(data, model, config.device),
        "on_fit_config_fn": fit_config,
        "on_evaluate_config_fn": lambda _: told,
        "fit_metrics_aggregation_fn": partial(merged_metrics, TRAIN_MEASURES_KEY, known),
        "evaluate_metrics_aggregation_fn": partial(merged_metrics, MEASURES_KEY, known),
    }
    if is_own_strategy(config.strategy):
        parts = _parts(config, spec, remembers=bool(local))
        if private_mean is not None:
            parts["aggregator"] = private_mean
        own: Strategy = part("strategy", config.strategy, **common, **parts)
        return own
    if local:
        raise ConfigError(
            f"run config: strategy = {config.strategy!r} does not tell participants which round "
            f"counted, so they could not remember what is local to them ({', '.join(local)}); use "
            f"strategy = {OWN_STRATEGY!r}"
        )
    strategy: Strategy = part("strategy", config.strategy, **common)
    if not isinstance(strategy, DeltaFedAvg):
        _warn_of_statistics(config.strategy, spec)
        return SeededStrategy(strategy, config.seed, config.min_fit_clients)
    strategy.seed = config.seed  # of a class derived from it, which need not take them
    strategy.min_updates = max(strategy.min_updates, config.min_fit_clients)
    return strategy


def _warn_of_statistics(strategy: str, model: ModelSpec) -> None:
    """Say that a strategy of Flower's steps statistics as if they were trained."""
    if model.statistics and STATELESS not in facts_of("strategy", strategy):
        line = (
            "strategy = %r moves statistics of the data like weights: %s; a variance may become "
            'negative. With strategy = "delta-fedavg" no server-optimizer does'
        )
        log(WARNING, line, strategy, ", ".join(model.statistics))


def _parts(config: RunConfig, model: ModelSpec, remembers: bool) -> dict[str, Any]:
    """Build what varies in `DeltaFedAvg`."""
    control = None
    if config.scaffold:
        learning_rate = local_learning_rate(config)
        control = ControlVariate(config.num_participants, model.trainable, learning_rate)
    remembers = remembers or pipeline_settings(config).remembers
    return {
        "seed": config.seed,
        "codec": wire_codec(config, model.narrow),
        "aggregator": aggregator(config.aggregator),
        "server_optimizer": part("server-optimizer", config.server_optimizer),
        "model": model,
        "server_lr_schedule": part("server-lr-schedule", config.server_lr_schedule),
        "control_variate": control,
        "client_state_rounds": ClientStateRounds() if remembers else None,
        "min_updates": config.min_fit_clients,
        "over_selection": config.over_selection,
    }


def server_state(strategy: Strategy) -> StrategyState | None:
    """Return what of a strategy a checkpoint has to keep: nothing of Flower's own."""
    return strategy.parts if isinstance(strategy, DeltaFedAvg) else None


def _evaluation(
    data: ServerData, model: nn.Module, device: str
) -> Callable[[int, NDArrays, dict[str, Scalar]], tuple[float, dict[str, Scalar]]] | None:
    test, resolved = data.test, resolve_device(device)
    if test is None:
        return None

    def evaluate_weights(
        server_round: int, weights: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, dict[str, Scalar]]:
        set_weights(model, weights)
        result = evaluate(data.task, model, test, resolved)
        return result.loss, {**result.metrics, "num-examples": result.num_examples}

    return evaluate_weights
