"""Participants that lie, for robustness tests in simulation.

An adversary poisons the labels that it trains on, or lies about the outcome, or both. Which
participants do is drawn by the run's seed; they are the same in every round and know each
other. What each aggregator does about them is in docs/studies.md.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from strategies.core.client_update import Arrays

# Keeps the stream of random numbers apart from the others derived from the same seed.
_ADVERSARIES_STREAM = 0xBAD

Labels = NDArray[Any]


@dataclass(frozen=True)
class Scene:
    """What an adversary knows when it lies.

    Attributes:
        num_participants: Of the run.
        num_adversaries: Those among them that lie.
        honest_deltas: Trains what the adversaries would have sent if they were honest.
        generator: For what is random in a lie.
    """

    num_participants: int
    num_adversaries: int
    honest_deltas: Callable[[], Sequence[Arrays]]
    generator: np.random.Generator


class Adversary(Protocol):
    """How a participant lies."""

    def poison_labels(self, labels: Labels, num_classes: int) -> Labels:
        """Return the labels to train on instead; the given ones are shared, and stay."""
        ...

    def poison_update(self, delta: Arrays, num_examples: int, scene: Scene) -> tuple[Arrays, int]:
        """Return the delta and the number of examples to send instead."""
        ...


@dataclass(frozen=True)
class SignFlip:
    """Sends `-scale * delta`: pulls the model away from where it learns."""

    scale: float = 1.0

    def poison_labels(self, labels: Labels, num_classes: int) -> Labels:
        """Train honestly."""
        return labels

    def poison_update(self, delta: Arrays, num_examples: int, scene: Scene) -> tuple[Arrays, int]:
        """Turn the delta round."""
        return [d * np.asarray(-self.scale, d.dtype) for d in delta], num_examples


@dataclass(frozen=True)
class ScaledNoise:
    """Sends Gaussian noise of `scale` times its honest delta's norm."""

    scale: float = 10.0

    def poison_labels(self, labels: Labels, num_classes: int) -> Labels:
        """Train honestly."""
        return labels

    def poison_update(self, delta: Arrays, num_examples: int, scene: Scene) -> tuple[Arrays, int]:
        """Replace the delta."""
        norm = sum(float(np.vdot(d, d)) for d in delta) ** 0.5
        std = self.scale * norm / sum(d.size for d in delta) ** 0.5
        noise = [(scene.generator.standard_normal(d.shape) * std).astype(d.dtype) for d in delta]
        return noise, num_examples


@dataclass(frozen=True)
class LabelFlip:
    """Trains on labels turned round, class k taken for the k-th from the end, and is honest."""

    def poison_labels(self, labels: Labels, num_classes: int) -> Labels:
        """Turn the labels round."""
        return num_classes - 1 - labels

    def poison_update(self, delta: Arrays, num_examples: int, scene: Scene) -> tuple[Arrays, int]:
        """Send what was trained."""
        return delta, num_examples


@dataclass(frozen=True)
class InflatedCount:
    """Claims `factor` times its number of examples, to weigh more, and turns its delta round."""

    factor: int = 100

    def poison_labels(self, labels: Labels, num_classes: int) -> Labels:
        """Train honestly."""
        return labels

    def poison_update(self, delta: Arrays, num_examples: int, scene: Scene) -> tuple[Arrays, int]:
        """Turn the delta round, and claim more."""
        return [-d for d in delta], num_examples * self.factor


@dataclass(frozen=True)
class ALittleIsEnough:
    """All adversaries send `mean - z * std` of their honest deltas: inside the crowd, off-centre.

    Attributes:
        z: How many deviations; 0 takes the paper's largest that still finds a majority
            around it, see `largest_hidden_deviation`.

    Source: Baruch et al., NeurIPS 2019, arXiv:1902.06156, algorithm 1.
    """

    z: float = 0.0

    def poison_labels(self, labels: Labels, num_classes: int) -> Labels:
        """Train honestly."""
        return labels

    def poison_update(self, delta: Arrays, num_examples: int, scene: Scene) -> tuple[Arrays, int]:
        """Send what all adversaries agree on."""
        z = self.z or largest_hidden_deviation(scene.num_participants, scene.num_adversaries)
        crafted = []
        for layers in zip(*scene.honest_deltas(), strict=True):
            stacked = np.stack(layers).astype(np.float64)
            crafted.append((stacked.mean(0) - z * stacked.std(0)).astype(layers[0].dtype))
        return crafted, num_examples


def largest_hidden_deviation(num_participants: int, num_adversaries: int) -> float:
    """Return z of `ALittleIsEnough`: `Phi^-1((n - m - s) / (n - m))`, `s = floor(n/2 + 1) - m`.

    It is 0 where the adversaries are a majority, or too few to hide.
    """
    honest = num_participants - num_adversaries
    supporters = num_participants // 2 + 1 - num_adversaries
    share = (honest - supporters) / honest if honest > 0 else 0.0
    return statistics.NormalDist().inv_cdf(share) if 0 < share < 1 else 0.0


def num_adversaries(num_participants: int, fraction: float) -> int:
    """Return how many participants lie: the share of them, rounded."""
    return round(fraction * num_participants)


def draw_adversaries(num_participants: int, fraction: float, seed: int) -> list[int]:
    """Draw which participants lie, by partition id; see `num_adversaries`."""
    generator = np.random.default_rng([_ADVERSARIES_STREAM, seed])
    count = num_adversaries(num_participants, fraction)
    drawn = generator.choice(num_participants, size=count, replace=False)
    return sorted(drawn.tolist())
