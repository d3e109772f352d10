"""The mean of clipped deltas with Gaussian noise: differential privacy for participants.

Why the noise is enough is written down in `docs/privacy.md`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.aggregation.base import check_same_form
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate
from strategies.privacy.accountant import BudgetSpent, PrivacyLedger
from strategies.privacy.adaptive_clipping import AdaptiveClip
from strategies.privacy.clipping import clip, norm_of
from strategies.privacy.secure_random import SecureGaussian

CLIP_NORM_KEY = "clip-norm"
"""In the fit config: the norm to clip deltas to, where it is not the run config's."""

_CLIPPED = 1 - 1e-5
"""A delta longer than this share of the clip norm counts as clipped."""


class PrivateMean:
    """An aggregator whose result is differentially private for every participant.

    Every delta is clipped, once more where the participant has done it, since it may lie; every
    participant counts the same, whatever its number of examples; the sum is divided by the number
    of participants that a round is planned with, not by those who replied.

    Attributes:
        clip_norm: To which deltas are clipped in the round to come.
        ledger: What has been spent.
        noise_multiplier: Standard deviation of the noise on the sum, over the clip norm.
    """

    def __init__(
        self,
        clip_norm: float,
        noise_multiplier: float,
        num_planned: int,
        ledger: PrivacyLedger,
        adaptive: AdaptiveClip | None = None,
        participants_add_noise: bool = False,
        noise: SecureGaussian | None = None,
    ) -> None:
        """Set up.

        Args:
            clip_norm: To which deltas are clipped, in the first round at least.
            noise_multiplier: Standard deviation of the noise on the sum, over the clip norm.
            num_planned: Participants that are sampled in a round.
            ledger: Records what is spent.
            adaptive: Moves the clip norm, if anything does; only where the server adds the noise.
            participants_add_noise: Whether each adds its share of the noise itself. Then the
                server adds none, nor can it clip, and fewer replies mean less noise.
            noise: Where the noise comes from.
        """
        if participants_add_noise and adaptive is not None:
            raise ValueError("participants that add noise hide whether their deltas were clipped")
        self.clip_norm = clip_norm
        self.noise_multiplier = noise_multiplier
        self.ledger = ledger
        self._num_planned = num_planned
        self._adaptive = adaptive
        self._participants_add_noise = participants_add_noise
        self._noise = noise or SecureGaussian()

    def instruction(self) -> dict[str, float]:
        """Return what participants have to know for a round."""
        return {CLIP_NORM_KEY: self.clip_norm}

    def before_round(self, participants: Sequence[str]) -> None:
        """Look whether a round with these participants keeps within the budget.

        Raises:
            BudgetSpent: If it would not.
        """
        expected = min(len(participants), self._num_planned)
        self.ledger.check(participants, self._multiplier_of(expected))

    def charge(self, participants: Sequence[str]) -> None:
        """Record durably that the noisy sum over these participants becomes known.

        Where participants add the noise, the server has the sum already, and fewer replies than
        planned mean that it spends more: such a sum is charged, and then kept back if it is over
        the budget.

        Raises:
            AggregationError: If a participant comes twice, or the sum has to be kept back.
            Exception: If the ledger cannot be saved; nothing may be released then.
        """
        if len(set(participants)) < len(participants):
            raise AggregationError("a participant has sent two updates")
        multiplier = self._multiplier_of(len(participants))
        kept_back = None
        try:
            self.ledger.check(participants, multiplier)
        except BudgetSpent:
            kept_back = AggregationError(
                f"{len(participants)} of {self._num_planned} shares of noise are too few for what "
                "is left of the privacy budget"
            )
        self.ledger.record(participants, multiplier)
        if kept_back is not None:
            raise kept_back

    def _multiplier_of(self, num_replies: int) -> float:
        """Return the noise multiplier of a round with so many replies."""
        if not self._participants_add_noise:
            return self.noise_multiplier
        return self.noise_multiplier * math.sqrt(num_replies / self._num_planned)

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; the ledger is saved before noise is drawn.

        Raises:
            AggregationError: If there are no updates, they differ in form, a participant comes
                twice, or the budget does not allow to release their sum.
            Exception: If the ledger cannot be saved; nothing is released then.
        """
        check_same_form(updates)
        self.charge([update.participant for update in updates])
        if self._participants_add_noise:
            return self._mean((update.delta for update in updates), 0.0)
        if self._adaptive is None:
            return self._clipped_mean(updates, self.noise_multiplier)
        mean = self._clipped_mean(updates, self._adaptive.delta_multiplier)
        unclipped = sum(norm_of(update.delta) < self.clip_norm * _CLIPPED for update in updates)
        noise = float(self._noise.sample((), self._adaptive.count_noise))
        self.clip_norm = self._adaptive.moved(self.clip_norm, unclipped, len(updates), noise)
        return mean

    def _clipped_mean(self, updates: Sequence[ClientUpdate], multiplier: float) -> Arrays:
        clipped = (clip(update.delta, self.clip_norm) for update in updates)
        return self._mean(clipped, multiplier * self.clip_norm)

    def _mean(self, deltas: Iterable[Arrays], std: float) -> Arrays:
        """Add up in float64, add noise, divide, and round once; one delta at a time."""
        totals: Arrays = []
        dtypes = []
        for delta in deltas:
            if not totals:
                totals = [np.zeros(array.shape) for array in delta]
                dtypes = [array.dtype for array in delta]
            for total, array in zip(totals, delta, strict=True):
                total += array
        if std:
            for total in totals:
                total += self._noise.sample(total.shape, std)
        return [
            np.asarray(total / self._num_planned, dtype)
            for total, dtype in zip(totals, dtypes, strict=True)
        ]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint has to keep; the ledger is saved apart, and earlier."""
        return {"clip-norm": np.array(self.clip_norm)}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self.clip_norm = float(state["clip-norm"])
