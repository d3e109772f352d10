"""The phases of a round: training and evaluation by the participants."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from logging import WARNING
from typing import Any, TypeVar, cast

from flwr.app import RecordDict
from flwr.common import Code, EvaluateRes, FitIns, FitRes, Parameters
from flwr.common.logger import log
from flwr.compat.common.recorddict_compat import (
    evaluateins_to_recorddict,
    fitins_to_recorddict,
    recorddict_to_evaluateres,
    recorddict_to_fitres,
)
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import Strategy
from flwr.serverapp import Grid

from fl_app.exchange import Instruction, MessageType, Reply, exchange
from fl_app.reports import ParticipantReport, Score, as_number
from strategies.delta_fedavg import DeltaFedAvg
from strategies.replies import counts, participant_of
from strategies.updates import participant_order

Answer = TypeVar("Answer", FitRes, EvaluateRes)


@dataclass(frozen=True)
class FitPhase:
    """Outcome of the training phase.

    Attributes:
        parameters: The new global weights; `None` leaves the global model as it was.
        participants: Everybody who was asked, sorted.
        train_loss: Mean training loss over the examples of those whose update counted.
        train_accuracy: Likewise.
        seconds: Wall-clock time, aggregation included.
    """

    parameters: Parameters | None
    participants: tuple[ParticipantReport, ...]
    train_loss: float | None
    train_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class EvaluatePhase:
    """Outcome of the evaluation by the participants; `score` is `None` if nobody answered."""

    score: Score | None
    failures: dict[str, str]
    bytes_down: int


class Phases:
    """Runs a strategy's two phases over a grid."""

    def __init__(
        self,
        grid: Grid,
        client_manager: ClientManager,
        strategy: Strategy,
        deadline: float | None = None,
    ) -> None:
        """Set up.

        Args:
            grid: Flower's connection to the nodes.
            client_manager: Who is connected, for the strategy to sample from.
            strategy: Any Flower strategy.
            deadline: Seconds after which a phase goes on without those still missing.
        """
        self._grid = grid
        self._client_manager = client_manager
        self._strategy = strategy
        self._deadline = deadline

    def fit(self, server_round: int, parameters: Parameters) -> FitPhase:
        """Let the sampled participants train, and aggregate what they return."""
        start = time.monotonic()
        configured = self._strategy.configure_fit(
            server_round=server_round, parameters=parameters, client_manager=self._client_manager
        )
        replies = self._exchange(
            [_instruction(proxy, fitins_to_recorddict(ins, True)) for proxy, ins in configured],
            MessageType.TRAIN,
            server_round,
            self._num_needed(),
        )
        replies, results = _decode(replies, lambda content: recorddict_to_fitres(content, False))
        new_parameters, metrics = self._strategy.aggregate_fit(
            server_round=server_round, results=results, failures=_exceptions(replies)
        )
        return FitPhase(
            parameters=new_parameters,
            participants=self._describe(configured, replies, results),
            train_loss=as_number(metrics.get("train-loss")),
            train_accuracy=as_number(metrics.get("train-accuracy")),
            seconds=time.monotonic() - start,
        )

    def evaluate(self, server_round: int, parameters: Parameters) -> EvaluatePhase:
        """Let the sampled participants evaluate the global weights on their own data."""
        configured = self._strategy.configure_evaluate(
            server_round=server_round, parameters=parameters, client_manager=self._client_manager
        )
        replies = self._exchange(
            [_instruction(proxy, evaluateins_to_recorddict(i, True)) for proxy, i in configured],
            MessageType.EVALUATE,
            server_round,
        )
        replies, results = _decode(replies, recorddict_to_evaluateres)
        failed = {participant_of(r.proxy): r.failure for r in replies if r.failure is not None}
        loss, metrics = self._strategy.aggregate_evaluate(
            server_round=server_round, results=results, failures=_exceptions(replies)
        )
        score = None
        if loss is not None:
            examples = sum(result.num_examples for _, result in results if counts(result))
            score = Score(loss, as_number(metrics.get("accuracy")), examples)
        return EvaluatePhase(score, failed, len(configured) * num_bytes(parameters))

    def _num_needed(self) -> int | None:
        """Return how many replies complete a round, where more than those are sampled."""
        if not isinstance(self._strategy, DeltaFedAvg) or self._strategy.over_selection == 0:
            return None
        return self._strategy.num_needed(self._client_manager.num_available())

    def _exchange(
        self,
        instructions: Sequence[Instruction],
        message_type: MessageType,
        server_round: int,
        enough: int | None = None,
    ) -> list[Reply]:
        replies = exchange(
            self._grid, instructions, message_type, str(server_round), self._deadline, enough
        )
        for reply in replies:
            if reply.failure is not None:
                line = "round %s: participant %s did not %s: %s"
                name, verb = participant_of(reply.proxy), message_type.value
                log(WARNING, line, server_round, name, verb, reply.failure)
        return replies

    def _describe(
        self,
        configured: Sequence[tuple[ClientProxy, FitIns]],
        replies: Sequence[Reply],
        results: Sequence[tuple[ClientProxy, FitRes]],
    ) -> tuple[ParticipantReport, ...]:
        sent = {participant_of(proxy): num_bytes(ins.parameters) for proxy, ins in configured}
        answers = {participant_of(proxy): result for proxy, result in results}
        rejections = {}
        if isinstance(self._strategy, DeltaFedAvg):
            rejections = {error.participant: error.reason for error in self._strategy.rejections}
        reports = []
        for reply in replies:
            name = participant_of(reply.proxy)
            failure = reply.failure or rejections.get(name)
            reports.append(_describe_one(name, failure, reply, answers.get(name), sent[name]))
        return tuple(sorted(reports, key=lambda report: participant_order(report.participant)))


def num_bytes(parameters: Parameters) -> int:
    """Return the bytes that the arrays of `parameters` take on the wire."""
    return sum(len(tensor) for tensor in parameters.tensors)


def _decode(
    replies: Sequence[Reply], decode: Callable[[RecordDict], Answer]
) -> tuple[list[Reply], list[tuple[ClientProxy, Answer]]]:
    """Decode what was answered; who sent something else has failed, like who sent nothing."""
    decoded: list[Reply] = []
    answers: list[tuple[ClientProxy, Answer]] = []
    for reply in replies:
        if reply.content is not None:
            try:
                answer = decode(reply.content)
                if answer.status.code != Code.OK:
                    raise ValueError(answer.status.message or answer.status.code.name)
                answers.append((reply.proxy, answer))
            except (KeyError, TypeError, ValueError) as error:
                name, failure = participant_of(reply.proxy), f"its reply cannot be used: {error!r}"
                log(WARNING, "participant %s: %s", name, failure)
                reply = replace(reply, content=None, failure=failure)
        decoded.append(reply)
    return decoded, answers


def _exceptions(replies: Sequence[Reply]) -> list[Any]:
    """Return the failures in the form that Flower's strategies take."""
    return [
        RuntimeError(f"{participant_of(reply.proxy)}: {reply.failure}")
        for reply in replies
        if reply.failure is not None
    ]


def _describe_one(
    name: str, failure: str | None, reply: Reply, answer: FitRes | None, bytes_down: int
) -> ParticipantReport:
    metrics = {} if answer is None else answer.metrics
    return ParticipantReport(
        participant=name,
        failure=failure,
        num_examples=None if answer is None else answer.num_examples,
        train_loss=as_number(metrics.get("train-loss")),
        train_accuracy=as_number(metrics.get("train-accuracy")),
        update_norm=as_number(metrics.get("update-norm")),
        train_seconds=as_number(metrics.get("train-seconds")),
        round_trip_seconds=reply.seconds,
        bytes_up=0 if answer is None else num_bytes(answer.parameters),
        bytes_down=bytes_down,
    )


def _instruction(proxy: ClientProxy, content: RecordDict) -> Instruction:
    return Instruction(cast(GridClientProxy, proxy), content)
