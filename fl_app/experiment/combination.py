"""A combination of parts, as the rules of `fl_app.experiment.compatibility_rules` look at it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flwr.common import Parameters
from flwr.server.strategy import Strategy

from fl_app.core.errors import ConfigError
from fl_app.core.plugins import HONEST, is_own_strategy, part
from fl_app.core.run_config import DEFAULTS, RunConfig
from fl_app.privacy.noise_calibration import planned_participants
from strategies.aggregation.base import Aggregator, as_aggregator
from strategies.attacks import Adversary, num_adversaries
from strategies.compression.codec import Codec
from strategies.flower_strategies import least_results
from strategies.part_kinds import UNCODED, WEIGHTED_MEAN
from strategies.registry import facts_of

_PARTS_OF_OWN_STRATEGY = (
    *("server-optimizer", "server-lr-schedule", "codec", "clip-norm"),
    *("privacy", "scaffold", "over-selection"),
)


@dataclass(frozen=True)
class Facts:
    """A run config with what its parts say of themselves.

    Attributes:
        config: The run config.
        codec: The part that it names; so are the others.
        aggregator: Likewise.
        strategy: One of Flower's, or of the user's; `None` where it is this project's.
        adversary: `None` where nobody lies.
    """

    config: RunConfig
    codec: Codec
    aggregator: Aggregator
    strategy: Strategy | None = None
    adversary: Adversary | None = None

    @property
    def own_strategy(self) -> bool:
        """Whether the strategy is this project's, into which the parts plug."""
        return is_own_strategy(self.config.strategy)

    @property
    def averages(self) -> bool:
        """Whether the aggregator is the plain weighted mean."""
        return WEIGHTED_MEAN in facts_of("aggregator", self.config.aggregator)

    @property
    def private(self) -> bool:
        """Whether there is differential privacy."""
        return self.config.privacy != "none"

    @property
    def adaptive(self) -> bool:
        """Whether the clip norm follows the deltas."""
        return self.config.adaptive_clip_quantile > 0

    @property
    def secure(self) -> bool:
        """Whether deltas travel under masks."""
        return self.config.secure_aggregation

    @property
    def coded(self) -> bool:
        """Whether deltas travel in another form than their own."""
        return UNCODED not in facts_of("codec", self.config.codec)

    @property
    def lossy(self) -> bool:
        """Whether the codec drops anything."""
        return not self.codec.lossless

    @property
    def sampled(self) -> int:
        """How many participants train in a round."""
        return planned_participants(self.config)

    @property
    def least_updates(self) -> int:
        """How few updates the aggregator, or the strategy of Flower's, is defined for."""
        if self.strategy is not None:
            return least_results(self.strategy)
        return self.aggregator.least_updates

    @property
    def liars(self) -> int:
        """How many participants lie, where there is an adversary."""
        return num_adversaries(self.config.num_participants, self.config.adversary_fraction)

    def changed(self) -> list[str]:
        """Return the keys of the parts of delta-fedavg that are not as they are by default."""
        settings = self.config.as_run_config()
        changed = [key for key in _PARTS_OF_OWN_STRATEGY if settings[key] != DEFAULTS[key]]
        return changed if self.averages else ["aggregator", *changed]


@dataclass(frozen=True)
class Rule:
    """One combination that is refused.

    Attributes:
        what: The combination, in run-config keys.
        why: The reason, as a sentence.
        instead: What to change.
        applies: Whether a run config combines so.
    """

    what: str
    why: str
    instead: str
    applies: Callable[[Facts], bool]


def facts_about(config: RunConfig) -> Facts:
    """Build the parts that the rules look at.

    Raises:
        ConfigError: If one of them cannot be built.
    """
    return Facts(
        config,
        codec=part("codec", config.codec),
        aggregator=aggregator(config.aggregator),
        strategy=None if is_own_strategy(config.strategy) else _on_trial(config.strategy),
        adversary=None if config.adversary == HONEST else part("adversary", config.adversary),
    )


def _on_trial(text: str) -> Strategy:
    """Build a strategy as a run will, but for what it starts from and whom it calls."""
    nothing: dict[str, Any] = dict.fromkeys(FLOWER_ARGUMENTS)
    nothing |= {"fraction_fit": 1.0, "fraction_evaluate": 1.0, "min_fit_clients": 1}
    nothing |= {"min_evaluate_clients": 1, "min_available_clients": 1}
    nothing |= {"initial_parameters": Parameters([], "numpy.ndarray")}
    strategy: Strategy = part("strategy", text, **nothing)
    return strategy


FLOWER_ARGUMENTS = (
    *("fraction_fit", "fraction_evaluate", "min_fit_clients", "min_evaluate_clients"),
    *("min_available_clients", "initial_parameters", "evaluate_fn", "on_fit_config_fn"),
    *("on_evaluate_config_fn", "fit_metrics_aggregation_fn", "evaluate_metrics_aggregation_fn"),
)
"""What a run gives to every strategy; the run config cannot."""


def aggregator(text: str) -> Aggregator:
    """Build the aggregator that the run config names; a plain function becomes one.

    Raises:
        ConfigError: If there is none, it does not take these options, or it offers more than a
            function does without being derived from `Aggregator`.
    """
    try:
        return as_aggregator(part("aggregator", text))
    except TypeError as error:
        raise ConfigError(f'run config: aggregator = "{text}": {error}') from error
