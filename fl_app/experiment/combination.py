"""A combination of parts, as the rules of `fl_app.experiment.compatibility` look at it."""

from collections.abc import Callable
from dataclasses import dataclass

from fl_app.core.errors import ConfigError
from fl_app.core.plugins import is_own_strategy, part
from fl_app.core.run_config import DEFAULTS, RunConfig
from fl_app.privacy.noise_calibration import planned_participants
from strategies.aggregation.base import Aggregator, as_aggregator
from strategies.compression.codec import Codec
from strategies.part_kinds import UNCODED, WEIGHTED_MEAN
from strategies.registry import facts_of

_PARTS_OF_OWN_STRATEGY = (
    *("server-optimizer", "server-lr-schedule", "codec", "clip-norm"),
    *("privacy", "scaffold", "over-selection"),
)


@dataclass(frozen=True)
class Facts:
    """A run config with what its parts say of themselves."""

    config: RunConfig
    codec: Codec
    aggregator: Aggregator

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
        """How few updates the aggregator is defined for."""
        return self.aggregator.least_updates

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
