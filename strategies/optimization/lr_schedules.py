"""Learning rates over rounds: from the round, 1-based, to a factor on the learning rate.

The same schedules serve the participants' SGD (`lr-schedule`) and the server optimizer
(`server-lr-schedule`). None looks at the number of rounds of the run, which may change on resume.
"""

import math
from dataclasses import dataclass


def constant(server_round: int) -> float:
    """Leave the learning rate as it is."""
    return 1.0


@dataclass(frozen=True)
class Exponential:
    """Multiply by `decay` after every round: `decay ** (round - 1)`."""

    decay: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay = {self.decay} must be more than 0 and at most 1")

    def __call__(self, server_round: int) -> float:
        """Return the factor of a round."""
        return float(self.decay ** (server_round - 1))


@dataclass(frozen=True)
class Step:
    """Multiply by `decay` after every `every` rounds."""

    every: int = 10
    decay: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 < self.decay <= 1:
            raise ValueError(
                f"every = {self.every} must be at least 1, and decay = {self.decay} more than 0 "
                "and at most 1"
            )

    def __call__(self, server_round: int) -> float:
        """Return the factor of a round."""
        return float(self.decay ** ((server_round - 1) // self.every))


@dataclass(frozen=True)
class Cosine:
    """Fall from 1 in round 1 to `final` in round `rounds` along half a cosine, and stay there.

    Source: Loshchilov and Hutter, ICLR 2017, arXiv:1608.03983, without restarts.
    """

    rounds: int = 100
    final: float = 0.0

    def __post_init__(self) -> None:
        if self.rounds < 2 or not 0 <= self.final <= 1:
            raise ValueError(
                f"rounds = {self.rounds} must be at least 2, and final = {self.final} between "
                "0 and 1"
            )

    def __call__(self, server_round: int) -> float:
        """Return the factor of a round."""
        progress = min((server_round - 1) / (self.rounds - 1), 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class WarmUp:
    """Rise linearly from `1 / rounds` in round 1 to 1 in round `rounds`, and stay there."""

    rounds: int = 5

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds = {self.rounds} must be at least 1")

    def __call__(self, server_round: int) -> float:
        """Return the factor of a round."""
        return min(server_round / self.rounds, 1.0)
