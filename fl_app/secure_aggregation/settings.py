"""What secure aggregation needs to know, worked out alike by server and participants."""

import math
from dataclasses import dataclass

from fl_app.core.run_config import RunConfig
from fl_app.privacy.noise_calibration import protection

MIN_PARTICIPANTS = 3
"""With two, each could work out the other's delta from the sum and its own."""


@dataclass(frozen=True)
class SecureSettings:
    """How a round of secure aggregation goes.

    Attributes:
        clip_norm: Longest delta, in Euclidean norm; so no value is further from 0.
        shares: Participants, itself included, among whom each shares its keys; 0 is all.
        threshold: Share of those that must be left for a sum to be unmasked.
        stage_deadline: Seconds for each stage but the training; `None` waits for everybody.
        min_updates: A sum of fewer updates is not unmasked.
        noise_std: Standard deviation of the noise that every participant adds to its values.
    """

    clip_norm: float
    shares: int = 21
    threshold: float = 0.6
    stage_deadline: float | None = None
    min_updates: int = 1
    noise_std: float = 0.0

    def num_shares(self, num_sampled: int) -> int:
        """Return among how many a participant shares its keys, itself included."""
        return min(self.shares or num_sampled, num_sampled)

    def num_needed(self, num_sampled: int) -> int:
        """Return how many of those must be left; always more than half.

        Fewer than that could be split by a dishonest server into two groups, of which one
        unmasks a participant as alive and the other as gone.
        """
        return math.ceil(self.threshold * self.num_shares(num_sampled))

    @property
    def clipping_range(self) -> float:
        """The furthest from 0 that a value of an honest participant's delta can be.

        Noise leaves 10 standard deviations with probability 1.6e-23 a value: in SimpleCNN once in
        1e17 updates. Such an update is not sent. Cutting it off would change the distribution
        of the noise; leaving it out does, too, but by no more than this probability.
        """
        return self.clip_norm + 10 * self.noise_std

    def longest_mean(self, num_values: int) -> float:
        """Return the longest that the mean of honest participants' deltas can be.

        That is the longest of one of them: with noise of norm at most std * (sqrt(d) + 8), which
        it exceeds with a probability below exp(-32).
        """
        return self.clip_norm + self.noise_std * (math.sqrt(num_values) + 8)


def secure_settings(config: RunConfig) -> SecureSettings | None:
    """Return the settings of secure aggregation; `None` if it is off."""
    if not config.secure_aggregation:
        return None
    return SecureSettings(
        clip_norm=config.clip_norm,
        shares=config.secure_shares,
        threshold=config.secure_threshold,
        stage_deadline=config.secure_stage_deadline or None,
        min_updates=config.min_fit_clients,
        noise_std=protection(config).noise_multiplier * config.clip_norm,
    )


def check_value(clipping_range: float) -> float:
    """Return the value that every participant appends to its delta.

    The mean of equal values is that value. If it does not come out, the masks did not cancel,
    or somebody's weight under the masks is not the one that its values were multiplied by.
    """
    return clipping_range / 2
