"""What the phases of a round come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.common import FitRes
from flwr.server.client_proxy import ClientProxy

from fl_app.messaging.transport import Reply
from fl_app.results.records import ParticipantReport, Score
from strategies.core.npy import GlobalWeights


@dataclass(frozen=True)
class TrainResult:
    """What came back from training, not yet applied to the global weights.

    Attributes:
        server_round: The round.
        bytes_down: What each participant was sent.
        bytes_up: What each participant that answered sent.
        replies: What became of each instruction, without the contents.
        results: The answers among them, in the order of the participants, without parameters:
            the strategy has received these.
        seconds: Wall-clock time of the exchange.
        refusal: Why the sum that came of it, under masks, could not be used.
    """

    server_round: int
    bytes_down: dict[str, int]
    bytes_up: dict[str, int] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    results: list[tuple[ClientProxy, FitRes]] = field(default_factory=list)
    seconds: float = 0.0
    refusal: str | None = None


@dataclass(frozen=True)
class AggregateResult:
    """Outcome of training and aggregation.

    Attributes:
        weights: The new global weights; `None` leaves the global model as it was.
        unchanged: Why it does.
        participants: Everybody who was asked, sorted.
        train_loss: Mean training loss over the examples of those whose update counted.
        train_metrics: The task's other metrics, likewise.
        epsilon: What is spent of privacy, where it is on.
        clip_norm: The norm that deltas were clipped to, where it is on.
        seconds: Wall-clock time, aggregation included.
    """

    weights: GlobalWeights | None
    participants: tuple[ParticipantReport, ...]
    train_loss: float | None
    train_metrics: Mapping[str, float]
    epsilon: float | None
    clip_norm: float | None
    seconds: float
    unchanged: str | None = None


@dataclass(frozen=True)
class EvaluateResult:
    """Outcome of the evaluation by the participants; `score` is `None` if nobody answered."""

    score: Score | None
    failures: dict[str, str]
    bytes_down: int
