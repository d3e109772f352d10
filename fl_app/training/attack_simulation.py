"""A participant that lies: what `strategies.attacks` does to its data and its update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray
from torch import nn

from fl_app.core.plugins import HONEST, part
from fl_app.core.run_config import RunConfig
from fl_app.core.seeding import Stream, numpy_generator
from fl_app.data.tensor_dataset import BatchedExamples
from fl_app.tasks.task import Task
from fl_app.training.local.local_training import LocalUpdate
from strategies.attacks import Adversary, Scene, draw_adversaries
from strategies.core.client_update import Arrays


@dataclass(frozen=True)
class Attacker:
    """One adversary in one round.

    Attributes:
        adversary: How it lies.
        scene: What it knows.
    """

    adversary: Adversary
    scene: Scene

    def poisoned(self, task: Task, examples: BatchedExamples, model: nn.Module) -> BatchedExamples:
        """Return the examples that it trains on; without classes it leaves them as they are."""
        labels = task.partition_labels(examples)
        if labels is None:
            return examples
        known = task.num_classes or getattr(model, "num_classes", None)
        num_classes = known or int(labels.max()) + 1
        lies = self.adversary.poison_labels(labels, num_classes)
        return examples if lies is labels else task.with_labels(examples, lies)

    def poison_update(self, update: LocalUpdate, weights: Sequence[NDArray[Any]]) -> LocalUpdate:
        """Return the update that it sends instead."""
        delta, num_examples = self.adversary.poison_update(
            update.delta, update.num_examples, self.scene
        )
        told = [w_t + d for w_t, d in zip(weights, delta, strict=True)]
        return replace(update, delta=delta, weights=told, num_examples=num_examples)


def find_attacker(
    config: RunConfig,
    partition_id: object,
    server_round: int,
    honest_delta: Callable[[int], Arrays],
) -> Attacker | None:
    """Return the attacker that a participant is in a round; `None` if it is honest.

    Args:
        config: The run config: says how, and how many.
        partition_id: The participant's; whoever has none is honest.
        server_round: The round, 1-based.
        honest_delta: Trains the delta that the participant with that partition id would send.
    """
    if config.adversary == HONEST:
        return None
    attackers = draw_adversaries(config.num_participants, config.adversary_fraction, config.seed)
    if partition_id not in attackers:
        return None
    scene = Scene(
        num_participants=config.num_participants,
        num_adversaries=len(attackers),
        honest_deltas=lambda: [honest_delta(attacker) for attacker in attackers],
        generator=numpy_generator(Stream.LIES, config.seed, server_round, str(partition_id)),
    )
    return Attacker(part("adversary", config.adversary), scene)
