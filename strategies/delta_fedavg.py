"""`DeltaFedAvg`, the one Flower strategy of this project."""

import math
from collections.abc import Callable
from logging import WARNING
from typing import Any

from flwr.common import EvaluateIns, EvaluateRes, FitIns, FitRes, Parameters, Scalar
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg

from strategies.aggregation.base import Aggregator, AggregatorFunction, as_aggregator
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.compression.codec import Codec, Identity
from strategies.core.client_update import DELTA, UPDATE_KEY, AggregationError, Arrays, UpdateError
from strategies.core.clients import (
    participant_of,
    sample_clients,
    sorted_by_participant,
    those_that_count,
)
from strategies.core.metrics import weighted_average
from strategies.core.model_spec import ModelSpec
from strategies.core.npy import GlobalWeights
from strategies.core.state import ClientStateRounds
from strategies.optimization.scaffold import ControlVariate
from strategies.optimization.server_optimizers import ServerOptimizer
from strategies.parts import Parts
from strategies.update_collector import FitResults, UpdateCollector

EvaluateResults = list[tuple[ClientProxy, EvaluateRes]]


class DeltaFedAvg(FedAvg):
    """Federated averaging by weighted deltas; a drop-in for `flwr`'s `FedAvg`.

    Participants return `delta_i = w_i - w_t`, marked `update = "delta"` in their metrics, or, as
    clients of `FedAvg` do, `w_i`, from which `w_t` is subtracted; see `UpdateCollector.add`. The
    new global weights are `w_t + sum(n_i / n * delta_i)`: `FedAvg`'s, but for round-off. Beyond
    it this validates every update and goes on without the bad ones, samples by seed and
    participant, sums in an order that does not depend on arrival, and averages the metrics.

    What varies is an argument: how deltas are decoded, aggregated, and applied. A participant is
    known by `proxy.properties["participant"]`, or by `proxy.cid` where nobody has set it.

    Attributes:
        parts: What varies.
        rejections: The updates refused by the latest `aggregate_fit`, with the reasons.
        refusal: Why it changed nothing, neither weights nor state; `None` if it did.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        codec: Codec | None = None,
        aggregator: Aggregator | AggregatorFunction = weighted_mean,
        server_optimizer: ServerOptimizer | None = None,
        model: ModelSpec | None = None,
        server_lr_schedule: Callable[[int], float] | None = None,
        control_variate: ControlVariate | None = None,
        client_state_rounds: ClientStateRounds | None = None,
        min_updates: int = 1,
        over_selection: float = 0.0,
        fit_metrics_aggregation_fn: Callable[..., dict[str, Scalar]] = weighted_average,
        evaluate_metrics_aggregation_fn: Callable[..., dict[str, Scalar]] = weighted_average,
        **fedavg: Any,  # noqa: ANN401 - whatever FedAvg takes, checked by FedAvg
    ) -> None:
        """Set up the strategy.

        Args:
            seed: Decides which participants are sampled in each round.
            codec: See `strategies.parts.Parts`; by default deltas come as they are.
            aggregator: Likewise; a plain function will do.
            server_optimizer: Likewise; by default the delta is added.
            model: Likewise; what of a model travels, where the server knows it.
            server_lr_schedule: Likewise.
            control_variate: Likewise.
            client_state_rounds: Likewise.
            min_updates: With fewer valid updates than this a round changes nothing.
            over_selection: Share of participants sampled beyond those needed, so that a
                round need not wait for the slowest; see `num_needed`.
            fit_metrics_aggregation_fn: As in `FedAvg`, but averages over examples by default.
            evaluate_metrics_aggregation_fn: Likewise.
            **fedavg: Every other argument of `flwr.server.strategy.FedAvg`.
        """
        super().__init__(
            fit_metrics_aggregation_fn=fit_metrics_aggregation_fn,
            evaluate_metrics_aggregation_fn=evaluate_metrics_aggregation_fn,
            **fedavg,
        )
        self.seed = seed
        self.parts = Parts(
            codec=Identity() if codec is None else codec,
            aggregator=as_aggregator(aggregator),
            server_optimizer=server_optimizer,
            server_lr_schedule=server_lr_schedule,
            model=model,
            control_variate=control_variate,
            client_state_rounds=client_state_rounds,
        )
        self.min_updates = min_updates
        self.over_selection = over_selection
        self.rejections: tuple[UpdateError, ...] = ()
        self.refusal: str | None = None
        self._weights: GlobalWeights | None = None  # w_t of the round in progress
        self._collector: UpdateCollector | None = None  # what has come in of it

    def __repr__(self) -> str:
        aggregator = self.parts.aggregator
        return f"DeltaFedAvg({aggregator=}, accept_failures={self.accept_failures})"

    def num_needed(self, num_available: int) -> int:
        """Return how many replies make a round complete; more are sampled by `over_selection`.

        Taking the first to finish favours fast participants: the average leans away from those
        that are slow, for instance for having more data.
        """
        return self.num_fit_clients(num_available)[0]

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Begin a round with weights that come as bytes, as Flower has it; see `begin_round`."""
        return self.begin_round(server_round, GlobalWeights.decode(parameters), client_manager)

    def begin_round(
        self, server_round: int, weights: GlobalWeights, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Remember `w_t`, sample the participants and ask them for deltas.

        Raises:
            BudgetSpent: If the round would spend more privacy than there is.
        """
        self._weights, self._collector = weights, None
        num_available = client_manager.num_available()
        num_sampled, num_required = self.num_fit_clients(num_available)
        if self.over_selection > 0:
            num_sampled = min(num_available, math.ceil(num_sampled * (1 + self.over_selection)))
        sampled = sample_clients(client_manager, num_sampled, num_required, self.seed, server_round)
        self.parts.aggregator.before_round([participant_of(proxy) for proxy in sampled])

        config: dict[str, Scalar] = {}
        if self.on_fit_config_fn is not None:
            config.update(self.on_fit_config_fn(server_round))
        config[UPDATE_KEY] = DELTA
        sent = self.parts.message(weights)
        return [
            (proxy, FitIns(sent, {**config, **self.parts.instruction(participant_of(proxy))}))
            for proxy in sampled
        ]

    def receive(self, server_round: int, proxy: ClientProxy, result: FitRes) -> None:
        """Take in a reply, while other participants still train.

        Callers pass the replies in the order of `participant_order`, in which they are summed.
        Where the aggregator adds them up as they come, their arrays are not kept.
        """
        self._collecting(server_round).add(proxy, result)

    def receive_sum(self, server_round: int, results: FitResults, mean: Arrays) -> None:
        """Take in some participants' mean delta; see `UpdateCollector.add_sum`.

        Raises:
            AggregationError: If it cannot be used.
        """
        self._collecting(server_round).add_sum(results, mean)

    def _collecting(self, server_round: int) -> UpdateCollector:
        """Return the round's collector; the first call of a round makes it."""
        if self._collector is None:
            self._collector = self.parts.collector(server_round, self._weights)
        return self._collector

    def aggregate_fit(
        self,
        server_round: int,
        results: FitResults,
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """Aggregate the valid updates and apply them: steps 3 and 4 of the algorithm.

        Args:
            server_round: The round, 1-based.
            results: The replies, in any order; see `strategies.update_collector`. Not looked at
                if `receive` has taken them in. Before any `configure_fit` there is no `w_t` to
                add a delta to, and replies are averaged as they are, like `FedAvg` does.
            failures: Participants that did not reply.

        Returns:
            The new global weights and the aggregated metrics, or `(None, {})`, which
            means that the global model stays as it was: too few updates were valid, they
            could not be aggregated, or there were failures and `accept_failures` is off.
        """
        if self._collector is None:
            for proxy, result in sorted_by_participant(results):
                self.receive(server_round, proxy, result)
        weights, metrics = self.finish_round(server_round, len(failures))
        return None if weights is None else weights.parameters, metrics

    def finish_round(
        self, server_round: int, num_failures: int
    ) -> tuple[GlobalWeights | None, dict[str, Scalar]]:
        """Aggregate what was received, and apply it; see `aggregate_fit`."""
        collector, self._collector = self._collecting(server_round), None
        self.rejections, self.refusal = tuple(collector.rejections), None
        needed = max(1, self.min_updates)
        try:
            if len(collector.participants) < needed:
                too_few = f"{len(collector.participants)} valid updates, {needed} needed"
                raise AggregationError(too_few)
            if not self.accept_failures and (num_failures or self.rejections):
                raise AggregationError("accept_failures is off, and there were failures")
            new_weights = self.parts.finish(server_round, self._weights, collector)
        except AggregationError as error:
            self.refusal = str(error)
            log(WARNING, "round %s changes nothing: %s", server_round, error)
            return None, {}
        metrics = self.fit_metrics_aggregation_fn
        return GlobalWeights(new_weights), metrics(collector.metrics) if metrics else {}

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """Sample the participants that evaluate the global weights; none if the share is 0."""
        if self.fraction_evaluate == 0.0:
            return []
        config: dict[str, Scalar] = {}
        if self.on_evaluate_config_fn is not None:
            config.update(self.on_evaluate_config_fn(server_round))
        sizes = self.num_evaluation_clients(client_manager.num_available())
        sampled = sample_clients(client_manager, *sizes, self.seed, server_round)
        parameters = self.parts.weights_message(GlobalWeights.decode(parameters))
        own = [{**config, **self.parts.instruction(participant_of(proxy))} for proxy in sampled]
        return [(p, EvaluateIns(parameters, told)) for p, told in zip(sampled, own, strict=True)]

    def aggregate_evaluate(
        self,
        server_round: int,
        results: EvaluateResults,
        failures: list[tuple[ClientProxy, EvaluateRes] | BaseException],
    ) -> tuple[float | None, dict[str, Scalar]]:
        """Average loss and metrics over the examples of the participants that have any."""
        return super().aggregate_evaluate(server_round, those_that_count(results), failures)
