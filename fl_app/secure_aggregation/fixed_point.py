"""The whole numbers of secure aggregation: a range in which nothing overflows or saturates.

SecAgg+ adds up whole numbers modulo `MODULUS`. How deltas become whole numbers, and how far the
mean that comes back may be off, is here; the protocol itself is Flower's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MODULUS = 2**32
"""Masks are drawn from [0, MODULUS), so a masked value takes four bytes."""

_LARGEST_TARGET = 2**31 - 2  # Flower rounds to int32


@dataclass(frozen=True)
class SecureRange:
    """How a weighted delta becomes whole numbers.

    Participant i of k turns its weight n_i into q_i = round(n_i / W * T), and every value d of
    its delta, |d| <= C, into a whole number in [0, T]: the two neighbours of
    (q_i / T * d + C) * T / (2 C), by chance and without bias. Both are sent under masks. The
    server learns only their sums, and from those sum(q_i * d_i) / sum(q_i).

    Attributes:
        clipping_range: C; no value of a delta may be further from 0.
        target_range: T, the number of steps between -C and C.
        max_weight: W; no weight may be larger.

    Source: Bonawitz et al., CCS 2017; Bell et al., CCS 2020 (SecAgg+); as in flwr's
    `secaggplus_mod`.
    """

    clipping_range: float
    target_range: int
    max_weight: int

    def whole_weight(self, weight: int) -> int:
        """Return q_i, as Flower's client works it out."""
        return round(weight / self.max_weight * self.target_range)

    def error_bound(self, weights: Sequence[int]) -> float:
        """Return how far a value of the mean can be from that of the exact weighted mean.

        Each of k values is rounded by less than a step, 2 C / T; dividing their sum by
        sum(q_i) / T gives 2 C k / sum(q_i). Where T is no multiple of W, each weight is rounded
        too, by at most 1/2, which moves the mean by at most k * (1/2) * 2 C / sum(q_i).

        The expected error is 0 in the first part, and the standard deviation at most
        C sqrt(k) / sum(q_i).

        Args:
            weights: Of those whose deltas are in the sum.
        """
        total = sum(map(self.whole_weight, weights))
        steps = 2.0 if self.target_range % self.max_weight == 0 else 3.0
        # Sums of k T in float64 are exact to far less than a step; a thousandth covers it.
        return 1.001 * steps * self.clipping_range * len(weights) / total


def secure_range(clipping_range: float, weights: Sequence[int]) -> SecureRange:
    """Choose the finest range in which the sum over all participants cannot overflow.

    With k participants that is T < MODULUS / k. It is made a multiple of the largest weight
    where it can be: then weights are exact.

    Args:
        clipping_range: No value of a delta is further from 0.
        weights: The most that each participant may weigh, positive.

    Raises:
        ValueError: If there is no participant, or the range or a weight is not positive.
    """
    if not weights or min(weights) <= 0:
        raise ValueError(f"the weights {list(weights)} are not positive")
    if not 0 < clipping_range < math.inf:
        raise ValueError(f"the clipping range {clipping_range} is not a positive number")
    largest = max(weights)
    # One less: rounding in float64 may take the topmost value a step too far.
    target = min((MODULUS - 1) // len(weights) - 1, _LARGEST_TARGET)
    whole = target // largest * largest
    return SecureRange(clipping_range, whole or target, largest)
