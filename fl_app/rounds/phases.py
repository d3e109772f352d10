"""The phases of a round: training and evaluation by the participants."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from logging import WARNING
from typing import cast

from flwr.app import RecordDict
from flwr.common import EvaluateRes
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.serverapp import Grid

from fl_app.core.metrics import LOSS, Metric
from fl_app.messaging.flower_compat import (
    GridClientProxy,
    evaluateins_to_recorddict,
    fitins_to_recorddict,
    recorddict_to_evaluateres,
    recorddict_to_fitres,
)
from fl_app.messaging.reorder_buffer import ReorderBuffer
from fl_app.messaging.replies import (
    as_exceptions,
    decode_reply,
    describe_one,
    evaluation_in,
    num_bytes,
    without_parameters,
)
from fl_app.messaging.transport import Instruction, MessageType, Reply, exchange
from fl_app.results.records import ParticipantReport, Score, as_number, as_numbers
from fl_app.rounds.round_results import AggregateResult, EvaluateResult, TrainResult
from fl_app.rounds.round_strategy import RoundStrategy
from fl_app.secure_aggregation.flower_workflow import Configured
from fl_app.secure_aggregation.server import SecureTraining
from fl_app.secure_aggregation.settings import SecureSettings
from strategies.core.client_update import AggregationError, participant_order
from strategies.core.clients import participant_of, those_that_count
from strategies.core.npy import GlobalWeights

# Replies that may be held back for those before them; more wait at Flower's.
_WINDOW = 16


class Phases:
    """Runs a strategy's two phases over a grid."""

    def __init__(
        self,
        grid: Grid,
        client_manager: ClientManager,
        strategy: RoundStrategy,
        deadline: float | None = None,
        secure: SecureSettings | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        """Set up.

        Args:
            grid: Flower's connection to the nodes.
            client_manager: Who is connected, for the strategy to sample from.
            strategy: Samples, aggregates, and averages what participants report.
            deadline: Seconds after which a phase goes on without those still missing.
            secure: How updates are aggregated under masks; `None` if they are not.
            metrics: The task's, by name.
        """
        self._metrics = metrics or {}
        self._grid = grid
        self._client_manager = client_manager
        self._strategy = strategy
        self._deadline = deadline
        self._secure = None
        if secure is not None:
            charge = strategy.charge if secure.noise_std > 0 else None
            self._secure = SecureTraining(grid, client_manager, secure, deadline, charge)

    def train(self, server_round: int, weights: GlobalWeights) -> TrainResult:
        """Let the sampled participants train, and take in what they return as it comes."""
        start = time.monotonic()
        configured = sorted(
            self._strategy.begin_round(server_round, weights, self._client_manager),
            key=lambda pair: participant_order(participant_of(pair[0])),
        )
        sent = {participant_of(proxy): num_bytes(ins.parameters) for proxy, ins in configured}
        if self._secure is not None:
            return self._train_under_masks(self._secure, server_round, weights, configured, sent)
        trained = TrainResult(server_round, sent)
        reorder_buffer: ReorderBuffer[Reply] = ReorderBuffer(list(sent))
        enough = self._strategy.replies_needed(self._client_manager.num_available())
        replies = self._exchange(
            [_instruction(proxy, fitins_to_recorddict(ins, True)) for proxy, ins in configured],
            MessageType.TRAIN,
            server_round,
            enough,
            None if enough is not None else _WINDOW,
        )
        for arrived in replies:
            for reply in reorder_buffer.arrived(participant_of(arrived.proxy), arrived):
                self._take(trained, reply)
        return replace(trained, seconds=time.monotonic() - start)

    def _train_under_masks(
        self,
        secure: SecureTraining,
        server_round: int,
        weights: GlobalWeights,
        configured: Configured,
        sent: dict[str, int],
    ) -> TrainResult:
        """Let the sampled participants train, and take in the sum of what they return."""
        start = time.monotonic()
        got = secure.collect(server_round, weights.arrays, configured)
        refusal = None
        if got.mean is not None:
            try:
                self._strategy.receive_sum(server_round, got.results, got.mean)
            except AggregationError as error:
                refusal = str(error)
                log(WARNING, "round %s: %s", server_round, refusal)
        return TrainResult(
            server_round,
            sent | {name: traffic.down for name, traffic in got.traffic.items()},
            {name: traffic.up for name, traffic in got.traffic.items()},
            got.replies,
            got.results,
            time.monotonic() - start,
            refusal,
        )

    def _take(self, trained: TrainResult, reply: Reply) -> None:
        """Decode a reply, and let the strategy receive it; what is kept of it has no parameters."""
        reply, result = decode_reply(reply, lambda content: recorddict_to_fitres(content, False))
        trained.replies.append(reply)
        if result is None:
            return
        trained.bytes_up[participant_of(reply.proxy)] = num_bytes(result.parameters)
        self._strategy.receive(trained.server_round, reply.proxy, result)
        trained.results.append((reply.proxy, without_parameters(result)))

    def aggregate(self, trained: TrainResult) -> AggregateResult:
        """Let the strategy aggregate what came back."""
        start = time.monotonic()
        before = self._strategy.privacy_spent()  # aggregating may move the clip norm
        new_weights, metrics = self._strategy.finish_round(
            trained.server_round, as_exceptions(trained.replies)
        )
        spent = self._strategy.privacy_spent()
        unchanged = trained.refusal or self._strategy.unchanged()
        return AggregateResult(
            weights=new_weights,
            participants=self._describe(trained),
            train_loss=as_number(metrics.get(LOSS)),
            train_metrics=as_numbers(metrics),
            epsilon=None if spent is None else spent.epsilon,
            clip_norm=None if before is None else before.clip_norm,
            seconds=trained.seconds + time.monotonic() - start,
            unchanged=unchanged if new_weights is None else None,
        )

    def evaluate(self, server_round: int, weights: GlobalWeights) -> EvaluateResult:
        """Let the sampled participants evaluate the global weights on their own data."""
        configured = self._strategy.flower.configure_evaluate(
            server_round=server_round,
            parameters=weights.parameters,
            client_manager=self._client_manager,
        )
        replies = self._exchange(
            [_instruction(proxy, evaluateins_to_recorddict(i, True)) for proxy, i in configured],
            MessageType.EVALUATE,
            server_round,
        )
        decoded = [decode_reply(reply, recorddict_to_evaluateres) for reply in replies]
        results = [(reply.proxy, result) for reply, result in decoded if result is not None]
        bytes_down = sum(num_bytes(instruction.parameters) for _, instruction in configured)
        return self._scored(server_round, [reply for reply, _ in decoded], results, bytes_down)

    def received(self, server_round: int, trained: TrainResult) -> EvaluateResult:
        """Return how the model that participants received to train on did on their own data.

        Args:
            server_round: The round that the model is the outcome of.
            trained: The training of the next round, which was to evaluate first.
        """
        evaluations = [
            (proxy, evaluation)
            for proxy, result in trained.results
            if (evaluation := evaluation_in(result)) is not None
        ]
        return self._scored(server_round, trained.replies, evaluations, 0)

    def _scored(
        self,
        server_round: int,
        replies: Sequence[Reply],
        results: Sequence[tuple[ClientProxy, EvaluateRes]],
        bytes_down: int,
    ) -> EvaluateResult:
        failed = {participant_of(r.proxy): r.failure for r in replies if r.failure is not None}
        usable = those_that_count(results)
        loss, metrics = self._strategy.flower.aggregate_evaluate(
            server_round, usable, as_exceptions(replies)
        )
        score = None
        if loss is not None:
            examples = sum(result.num_examples for _, result in usable)
            exact = as_number(metrics.get(LOSS))
            score = Score(loss if exact is None else exact, as_numbers(metrics), examples)
        return EvaluateResult(score, failed, bytes_down)

    def _exchange(
        self,
        instructions: Sequence[Instruction],
        message_type: MessageType,
        server_round: int,
        enough: int | None = None,
        window: int | None = None,
    ) -> Iterator[Reply]:
        group, deadline = str(server_round), self._deadline
        for reply in exchange(
            self._grid, instructions, message_type, group, deadline, enough, window
        ):
            if reply.failure is not None:
                line = "round %s: participant %s did not %s: %s"
                name, verb = participant_of(reply.proxy), message_type.value
                log(WARNING, line, server_round, name, verb, reply.failure)
            yield reply

    def _describe(self, trained: TrainResult) -> tuple[ParticipantReport, ...]:
        answers = {participant_of(proxy): result for proxy, result in trained.results}
        rejections = self._strategy.rejections()
        reports = []
        for reply in trained.replies:
            name = participant_of(reply.proxy)
            failure = reply.failure or rejections.get(name)
            up, down = trained.bytes_up.get(name, 0), trained.bytes_down[name]
            reports.append(describe_one(failure, reply, answers.get(name), up, down, self._metrics))
        return tuple(sorted(reports, key=lambda report: participant_order(report.participant)))


def _instruction(proxy: ClientProxy, content: RecordDict) -> Instruction:
    return Instruction(cast(GridClientProxy, proxy), content)
