"""A combination of parts, as the rules of `fl_app.experiment.compatibility` look at it."""

from collections.abc import Callable
from dataclasses import dataclass

from fl_app.core.run_config_keys import OWN_STRATEGY, RunConfig
from fl_app.privacy.noise_calibration import planned_participants
from strategies.aggregation.base import Aggregator
from strategies.compression.codec import Codec
from strategies.registry import known_name

_AVERAGES = ("weighted-mean",)


@dataclass(frozen=True)
class Facts:
    """A run config with what its parts say of themselves."""

    config: RunConfig
    codec: Codec
    aggregator: Aggregator

    @property
    def own_strategy(self) -> bool:
        """Whether the strategy is this project's, into which the parts plug."""
        return self.config.strategy == OWN_STRATEGY

    @property
    def averages(self) -> bool:
        """Whether the aggregator is the plain weighted mean."""
        return known_name("aggregator", self.config.aggregator) in _AVERAGES

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
    def lossy(self) -> bool:
        """Whether the codec drops anything."""
        return not self.codec.lossless

    @property
    def sampled(self) -> int:
        """How many participants train in a round."""
        return planned_participants(self.config)

    @property
    def least_updates(self) -> int:
        """How few updates the aggregator is defined for."""
        return self.aggregator.least_updates

    def changed(self) -> list[str]:
        """Return the keys of parts that are not as they are by default."""
        run = self.config
        parts = {
            "aggregator": not self.averages,
            "server-optimizer": run.server_optimizer != "sgd",
            "server-lr-schedule": run.server_lr_schedule != "constant",
            "codec": run.codec != "identity",
            "clip-norm": run.clip_norm > 0,
            "privacy": run.privacy != "none",
            "scaffold": run.scaffold,
            "over-selection": run.over_selection > 0,
        }
        return [key for key, differs in parts.items() if differs]


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
