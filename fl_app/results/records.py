"""What there is to say about a round; filled by the workflow, read by the hooks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Score:
    """Result of an evaluation over `num_examples` examples.

    Attributes:
        loss: Mean loss, in nats where it is a log-likelihood.
        metrics: The task's other metrics by name; what nobody reported is not there.
        num_examples: Number of examples; 0 where unknown.
    """

    loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    num_examples: int = 0

    def value(self, metric: str) -> float | None:
        """Return the loss or another metric; `None` where it was not measured."""
        return self.loss if metric == "loss" else self.metrics.get(metric)

    def as_row(self) -> dict[str, Any]:
        """Return it as it is written: `loss`, `num_examples`, and every metric by its name."""
        return {"loss": self.loss, **self.metrics, "num_examples": self.num_examples}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Score":
        """Undo `as_row`; a loss that is null was not finite."""
        metrics = {
            name: value
            for name, value in row.items()
            if name not in ("loss", "num_examples") and value is not None
        }
        loss = math.nan if row["loss"] is None else row["loss"]
        return cls(loss, metrics, row["num_examples"])


@dataclass(frozen=True, slots=True)  # kept for every participant of every round
class ParticipantReport:
    """One participant in one round.

    Attributes:
        participant: Its name.
        failure: Why it contributed nothing, or `None`.
        num_examples: Number of examples trained on; 1 where privacy is on, which hides it.
        train_loss: Mean loss over the last local epoch.
        train_metrics: The task's other metrics over the last local epoch.
        update_norm: Euclidean norm of its delta.
        train_seconds: Time it spent in training.
        round_trip_seconds: From sending the instruction to receiving the reply.
        bytes_up: Bytes of the arrays it sent.
        bytes_down: Bytes of the arrays it was sent.
    """

    participant: str
    failure: str | None = None
    num_examples: int | None = None
    train_loss: float | None = None
    train_metrics: Mapping[str, float] = field(default_factory=dict)
    update_norm: float | None = None
    train_seconds: float | None = None
    round_trip_seconds: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0


@dataclass(frozen=True)
class RoundReport:
    """One round; round 0 is the evaluation of the initial model.

    Attributes:
        server_round: The round, 1-based; 0 is the initial model.
        aggregated: Whether the round changed the global model.
        unchanged: Why it did not.
        relative_update: |w_{t+1} - w_t| / |w_t|, in Euclidean norms; 0 if nothing changed.
        central: Evaluation on the server's test set, if it has one.
        federated: Evaluation by the participants on their own test examples, if asked for.
        train_loss: Mean training loss over the participants' examples.
        train_metrics: The task's other metrics over them, as they were trained.
        epsilon: What the run has spent of privacy with this round, where it is on.
        clip_norm: The norm that deltas were clipped to, where privacy is on.
        participants: Everybody who was asked to train.
        evaluation_failures: Who failed to evaluate, and why.
        bytes_up: Bytes of arrays received in the round.
        bytes_down: Bytes of arrays sent in the round, for training and evaluation.
        fit_seconds: Training and aggregation, wall clock.
        evaluate_seconds: Central and federated evaluation, wall clock.
    """

    server_round: int
    aggregated: bool = False
    relative_update: float | None = None
    central: Score | None = None
    federated: Score | None = None
    train_loss: float | None = None
    train_metrics: Mapping[str, float] = field(default_factory=dict)
    epsilon: float | None = None
    clip_norm: float | None = None
    participants: tuple[ParticipantReport, ...] = ()
    evaluation_failures: dict[str, str] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    fit_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    unchanged: str | None = None

    @property
    def seconds(self) -> float:
        """Wall-clock time of the whole round."""
        return self.fit_seconds + self.evaluate_seconds

    @property
    def score(self) -> Score | None:
        """The central evaluation where there is one, else the federated."""
        return self.central or self.federated

    @property
    def diverged(self) -> bool:
        """Whether the model's loss is not finite."""
        return self.score is not None and not math.isfinite(self.score.loss)

    @property
    def failures(self) -> dict[str, str]:
        """Participants that contributed nothing, with the reasons."""
        return {p.participant: p.failure for p in self.participants if p.failure is not None}


def names_by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Return who or what has each reason, in the order given; a reason may then be said once.

    Args:
        reasons: The reason of each, by name.
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return names


def as_numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the metrics of Flower's that are numbers, but the loss, as floats."""
    numbers = {name: as_number(value) for name, value in metrics.items() if name != "loss"}
    return {name: value for name, value in numbers.items() if value is not None}


def as_number(metric: object) -> float | None:
    """Return a metric of Flower's as a float, or `None` if it is missing or no number."""
    if isinstance(metric, bool) or not isinstance(metric, int | float):
        return None
    return float(metric)
