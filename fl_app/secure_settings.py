"""What secure aggregation needs to know, worked out alike by server and participants."""

import math
from dataclasses import dataclass

from fl_app.config import RunConfig

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
    """

    clip_norm: float
    shares: int = 21
    threshold: float = 0.6
    stage_deadline: float | None = None

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
        """The furthest from 0 that a value of an honest participant's delta can be."""
        return self.clip_norm

    @property
    def longest_mean(self) -> float:
        """The longest that the mean of honest participants' deltas can be."""
        return self.clip_norm


def secure_settings(config: RunConfig) -> SecureSettings | None:
    """Return the settings of secure aggregation; `None` if it is off."""
    if not config.secure_aggregation:
        return None
    return SecureSettings(
        clip_norm=config.clip_norm,
        shares=config.secure_shares,
        threshold=config.secure_threshold,
        stage_deadline=config.secure_stage_deadline or None,
    )


def check_value(clipping_range: float) -> float:
    """Return the value that every participant appends to its delta.

    The mean of equal values is that value. If it does not come out, the masks did not cancel,
    or somebody's weight under the masks is not the one that its values were multiplied by.
    """
    return clipping_range / 2
