"""A clip norm that follows the lengths of the deltas."""

import math

_LARGEST_SHARE = 0.1  # of what a round spends, for the counts


class AdaptiveClip:
    """Moves the clip norm towards a quantile of the norms, by noisy counts.

    After each round `C <- C * exp(-rate * (b - quantile))`, where `b` is the noisy share of
    deltas that were not clipped. It is an estimate from `sum(b_i - 1/2)`, to which a participant
    contributes at most 1/2.

    Attributes:
        count_noise: Standard deviation of the noise on that sum.

    Source: Andrew et al., NeurIPS 2021, arXiv:1905.03871. The noise is the paper's, a twentieth
    of the number of participants, but for few participants so much more that counts take at most
    a tenth of what a round spends.
    """

    def __init__(self, quantile: float, rate: float, num_planned: int, total: float) -> None:
        """Set up.

        Args:
            quantile: Share of deltas that are to be shorter than the clip norm.
            rate: How fast the clip norm moves.
            num_planned: Participants that are sampled in a round.
            total: The noise multiplier of sum and count together.
        """
        self.quantile = quantile
        self.rate = rate
        self._num_planned = num_planned
        self._total = total
        self.count_noise = max(num_planned / 20, total / 2 / math.sqrt(_LARGEST_SHARE))

    @property
    def delta_multiplier(self) -> float:
        """The noise multiplier of the deltas' sum that leaves `total` for both.

        Theorem 1 of the paper: the counts' sensitivity is 1/2, so `z^-2 = z_delta^-2 + (2 s)^-2`.
        """
        return float((self._total**-2 - (2 * self.count_noise) ** -2) ** -0.5)

    def moved(self, clip_norm: float, unclipped: int, num_replies: int, noise: float) -> float:
        """Return the next clip norm.

        Args:
            clip_norm: The present one.
            unclipped: How many deltas were shorter.
            num_replies: Of how many. One that is missing contributes 0 to the sum, which is
                neither clipped nor not; to count it as either would double the sensitivity.
            noise: What was drawn for the sum.
        """
        centred = unclipped - 0.5 * num_replies + noise
        share = 0.5 + centred / self._num_planned
        return clip_norm * math.exp(-self.rate * (share - self.quantile))
