"""The mean of clipped deltas with Gaussian noise: differential privacy for participants.

Why the noise is enough is written down in `docs/privacy.md`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.aggregation.base import Aggregator, PrivacySpent
from strategies.core.client_update import (
    AggregationError,
    Arrays,
    ClientUpdate,
    UpdateSum,
    check_alike,
)
from strategies.core.vectors import euclidean_norm
from strategies.privacy.accountant import BudgetSpent, PrivacyLedger
from strategies.privacy.adaptive_clipping import AdaptiveClip
from strategies.privacy.clipping import clip
from strategies.privacy.secure_random import SecureGaussian

CLIP_NORM_KEY = "clip-norm"
"""In the fit config: the norm to clip deltas to, where it is not the run config's."""

_CLIPPED = 1 - 1e-5
"""A delta longer than this share of the clip norm counts as clipped."""


class PrivateMean(Aggregator):
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

    @property
    def takes_weights(self) -> bool:
        """Whether weights will do: not where the delta has to come with its share of the noise."""
        return not self._participants_add_noise

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

    def privacy_spent(self) -> PrivacySpent:
        """Return the clip norm of the round to come, and the largest epsilon so far."""
        return PrivacySpent(self.clip_norm, self.ledger.epsilon())

    def _multiplier_of(self, num_replies: int) -> float:
        """Return the noise multiplier of a round with so many replies."""
        if not self._participants_add_noise:
            return self.noise_multiplier
        return self.noise_multiplier * math.sqrt(num_replies / self._num_planned)

    def begin(self) -> "_PrivateSum":
        """Begin a round; what comes is held until its sum is paid for."""
        return _PrivateSum(self)

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; the ledger is saved before noise is drawn.

        Raises:
            AggregationError: If there are no updates, they differ in form, a participant comes
                twice, or the budget does not allow to release their sum.
            Exception: If the ledger cannot be saved; nothing is released then.
        """
        held = self.begin()
        for update in updates:
            held.add(update)
        return held.result()

    def release(self, terms: Sequence[UpdateSum]) -> Arrays:
        """Return the noisy mean of deltas, given as equally weighted means of some of them.

        Raises:
            AggregationError: As from a call.
            Exception: Likewise.
        """
        _check_terms(terms)
        self.charge([name for term in terms for name in term.participants])
        if self._participants_add_noise:
            return self._mean(((term.mean, len(term.participants)) for term in terms), 0.0)
        if self._adaptive is None:
            return self._clipped_mean(terms, self.noise_multiplier)
        if any(len(term.participants) > 1 for term in terms):
            raise AggregationError("a sum does not show how many of its deltas were clipped")
        mean = self._clipped_mean(terms, self._adaptive.delta_multiplier)
        unclipped = sum(euclidean_norm(term.mean) < self.clip_norm * _CLIPPED for term in terms)
        noise = float(self._noise.sample((), self._adaptive.count_noise))
        self.clip_norm = self._adaptive.moved(self.clip_norm, unclipped, len(terms), noise)
        return mean

    def _clipped_mean(self, terms: Sequence[UpdateSum], multiplier: float) -> Arrays:
        clipped = ((clip(term.mean, self.clip_norm), len(term.participants)) for term in terms)
        return self._mean(clipped, multiplier * self.clip_norm)

    def _mean(self, terms: Iterable[tuple[Arrays, int]], std: float) -> Arrays:
        """Add up in float64, add noise, divide, and round once; one delta at a time."""
        totals: Arrays = []
        dtypes = []
        for delta, count in terms:
            if not totals:
                totals = [np.zeros(array.shape) for array in delta]
                dtypes = [array.dtype for array in delta]
            for total, array in zip(totals, delta, strict=True):
                total += array if count == 1 else np.multiply(array, count, dtype=np.float64)
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


class _PrivateSum:
    """The terms of a round's private sum: updates, each counted once, or sums of some."""

    def __init__(self, mean: PrivateMean) -> None:
        self._mean = mean
        self._terms: list[UpdateSum] = []

    def add(self, update: ClientUpdate) -> None:
        """Hold an update; its number of examples is not looked at."""
        self._terms.append(UpdateSum((update.participant,), 1, update.delta))

    def add_sum(self, update_sum: UpdateSum) -> None:
        """Hold a sum in which everybody has to weigh the same.

        Raises:
            AggregationError: If its participants have more examples than one each: then they may
                weigh differently, and the noise is not reckoned for that.
        """
        if update_sum.num_examples != len(update_sum.participants):
            raise AggregationError(
                f"the sum of {len(update_sum.participants)} updates is weighted by "
                f"{update_sum.num_examples} examples; under privacy everybody counts once"
            )
        self._terms.append(update_sum)

    def result(self) -> Arrays:
        """Return the noisy mean; see `PrivateMean.release`."""
        return self._mean.release(self._terms)


def _check_terms(terms: Sequence[UpdateSum]) -> None:
    """Raise `AggregationError` unless there are terms, all of one form."""
    if not terms:
        raise AggregationError("there is no update to aggregate")
    first = ClientUpdate(", ".join(terms[0].participants), terms[0].mean, 1)
    for term in terms[1:]:
        check_alike(first, ClientUpdate(", ".join(term.participants), term.mean, 1))
