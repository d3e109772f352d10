"""`DeltaFedAvg`, the one Flower strategy of this project."""

import math
from collections.abc import Callable, Mapping
from logging import WARNING
from typing import Any

import numpy as np
from flwr.common import (
    EvaluateIns,
    EvaluateRes,
    FitIns,
    FitRes,
    Parameters,
    Scalar,
    ndarrays_to_parameters,
)
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg
from numpy.typing import NDArray

from strategies.aggregation.base import Aggregator
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.compression.codec import Codec, Identity
from strategies.core.client_update import DELTA, UPDATE_KEY, AggregationError, Arrays, UpdateError
from strategies.core.clients import counts, participant_of, sample_clients, sorted_by_participant
from strategies.core.finite import num_not_finite
from strategies.core.metrics import weighted_average
from strategies.core.npy import decode_arrays
from strategies.core.state import ClientStateRounds, load_state_of, state_of
from strategies.optimization.scaffold import ControlVariate
from strategies.optimization.server_optimizers import ServerOptimizer, plain
from strategies.update_collector import FitResults, UpdateCollector

EvaluateResults = list[tuple[ClientProxy, EvaluateRes]]


class DeltaFedAvg(FedAvg):
    """Federated averaging by weighted deltas; a drop-in for `flwr`'s `FedAvg`.

    Each participant returns `delta_i = w_i - w_t`, and the new global weights are
    `w_t + sum(n_i / n * delta_i)`. Beyond `FedAvg` it validates every update and goes on
    without the bad ones, samples by seed and participant, sums in an order that does not
    depend on arrival, and averages the metrics.

    What varies is an argument: how deltas are decoded, aggregated, and applied.

    A participant is known by `proxy.properties["participant"]`, or by `proxy.cid` where
    nobody has set it.

    Attributes:
        rejections: The updates refused by the latest `aggregate_fit`, with the reasons.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        codec: Codec | None = None,
        aggregator: Aggregator = weighted_mean,
        server_optimizer: ServerOptimizer | None = None,
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
            codec: Undoes what the participants' codec did; by default deltas come as they are.
            aggregator: Turns the checked updates of a round into one delta: step 3.
            server_optimizer: Applies it to the global weights: step 4; by default it is added.
            server_lr_schedule: From the round to a factor on the optimizer's learning rate.
            control_variate: The server's side of SCAFFOLD, where it is on.
            client_state_rounds: Which updates counted, where participants keep a state.
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
        self.codec = Identity() if codec is None else codec
        self.aggregator = aggregator
        self.server_optimizer = server_optimizer
        self.server_lr_schedule = server_lr_schedule
        self.control_variate = control_variate
        self.client_state_rounds = client_state_rounds
        self.min_updates = min_updates
        self.over_selection = over_selection
        self.rejections: tuple[UpdateError, ...] = ()
        self._global_weights: Arrays | None = None  # w_t of the round in progress
        self._collector: UpdateCollector | None = None  # what `receive` has taken in of it

    def __repr__(self) -> str:
        aggregator = getattr(self.aggregator, "__name__", repr(self.aggregator))
        return f"DeltaFedAvg(aggregator={aggregator}, accept_failures={self.accept_failures})"

    def num_needed(self, num_available: int) -> int:
        """Return how many replies make a round complete; more are sampled by `over_selection`.

        Taking the first to finish favours fast participants: whoever is slow, for instance
        for having more data, is heard less often, and the average leans away from it.
        """
        return self.num_fit_clients(num_available)[0]

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Remember `w_t`, sample the participants and ask them for deltas.

        Raises:
            BudgetSpent: If the round would spend more privacy than there is.
        """
        self._global_weights = decode_arrays(parameters.tensors)
        self._collector = None
        num_available = client_manager.num_available()
        num_sampled, num_required = self.num_fit_clients(num_available)
        if self.over_selection > 0:
            num_sampled = min(num_available, math.ceil(num_sampled * (1 + self.over_selection)))
        sampled = sample_clients(client_manager, num_sampled, num_required, self.seed, server_round)
        if before_round := getattr(self.aggregator, "before_round", None):
            before_round([participant_of(proxy) for proxy in sampled])

        config: dict[str, Scalar] = {}
        if self.on_fit_config_fn is not None:
            config.update(self.on_fit_config_fn(server_round))
        config[UPDATE_KEY] = DELTA
        sent = self._with_control_variate(parameters)
        return [(proxy, FitIns(sent, self._instruction(proxy, config))) for proxy in sampled]

    def _with_control_variate(self, parameters: Parameters) -> Parameters:
        """Return what is sent down: the global weights and, for SCAFFOLD, `c` after them."""
        if self.control_variate is None or self._global_weights is None:
            return parameters
        c = ndarrays_to_parameters(self.control_variate.value(self._global_weights))
        return Parameters([*parameters.tensors, *c.tensors], parameters.tensor_type)

    def _instruction(self, proxy: ClientProxy, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Return the config of one participant: everybody's, and which state it is to load."""
        if self.client_state_rounds is None:
            return config
        return config | self.client_state_rounds.instruction(participant_of(proxy))

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
        return [(proxy, EvaluateIns(parameters, config)) for proxy in sampled]

    def aggregate_fit(
        self,
        server_round: int,
        results: FitResults,
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """Aggregate the valid updates and apply them: steps 3 and 4 of the algorithm.

        Args:
            server_round: The round, 1-based.
            results: The replies, in any order; see `strategies.update_collector`. Not looked at if
                `receive` has taken them in. Before any `configure_fit` there is no `w_t` to
                add a delta to, and replies are averaged as they are, like `FedAvg` does.
            failures: Participants that did not reply.

        Returns:
            The new global weights and the aggregated metrics, or `(None, {})`, which
            means that the global model stays as it was: too few updates were valid, they
            could not be aggregated, or there were failures and `accept_failures` is off.
        """
        collector, self._collector = self._collector, None
        if collector is None:
            collector = self._begin_collecting(server_round)
            for proxy, result in sorted_by_participant(results):
                collector.add(proxy, result)
        self.rejections = tuple(collector.rejections)
        needed = max(1, self.min_updates)
        if len(collector.participants) < needed:
            reason = f"{len(collector.participants)} valid updates, {needed} needed"
            return _unchanged(server_round, reason)
        if not self.accept_failures and (failures or self.rejections):
            return None, {}
        try:
            delta = collector.aggregate()  # step 3
        except AggregationError as error:
            return _unchanged(server_round, str(error))
        new_weights = self._step(server_round, delta)  # step 4
        if any(num_not_finite(array) for array in new_weights):
            return _unchanged(server_round, "the aggregate overflows")

        if self.control_variate is not None and collector.control_change is not None:
            self.control_variate.move(collector.control_change)
        if self.client_state_rounds is not None:
            self.client_state_rounds.record(server_round, collector.participants)
        metrics = self.fit_metrics_aggregation_fn
        return ndarrays_to_parameters(new_weights), metrics(collector.metrics) if metrics else {}

    def receive(self, server_round: int, proxy: ClientProxy, result: FitRes) -> None:
        """Take in a reply before `aggregate_fit`, while other participants still train.

        Callers pass the replies in the order of `participant_order`, whatever that of their
        arrival: it is the order in which they are summed. Where the aggregator adds them up as
        they come, their arrays are not kept. Flower's own server need not know this method.
        """
        if self._collector is None:
            self._collector = self._begin_collecting(server_round)
        self._collector.add(proxy, result)

    def _begin_collecting(self, server_round: int) -> UpdateCollector:
        control = self.control_variate
        change = None if control is None else control.begin(server_round)
        return UpdateCollector(self.codec, self._global_weights, self.aggregator, change)

    def _step(self, server_round: int, delta: Arrays) -> Arrays:
        if self._global_weights is None:
            return delta
        schedule = self.server_lr_schedule
        factor = 1.0 if schedule is None else schedule(server_round)
        with np.errstate(over="ignore"):  # an overflow is looked for, and dealt with, after
            if self.server_optimizer is None:
                return plain(self._global_weights, delta)
            return self.server_optimizer.step(self._global_weights, delta, factor)

    def aggregate_evaluate(
        self,
        server_round: int,
        results: EvaluateResults,
        failures: list[tuple[ClientProxy, EvaluateRes] | BaseException],
    ) -> tuple[float | None, dict[str, Scalar]]:
        """Average loss and metrics over the examples of the participants that have any."""
        usable = [
            (proxy, result) for proxy, result in sorted_by_participant(results) if counts(result)
        ]
        return super().aggregate_evaluate(server_round, usable, failures)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what the parts have to remember between rounds, as named arrays."""
        return state_of(self._parts())

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned for a strategy built alike.

        Raises:
            ValueError: If it is that of other parts.
        """
        load_state_of(self._parts(), state)

    def checkpoint_saved(self) -> None:
        """Learn that what `state` returned is safe: a resume will not go back behind it."""
        if self.client_state_rounds is not None:
            self.client_state_rounds.checkpoint_saved()

    def _parts(self) -> dict[str, object]:
        return {
            "aggregator": self.aggregator,
            "server-optimizer": self.server_optimizer,
            "control-variate": self.control_variate,
            "client-state": self.client_state_rounds,
        }


def _unchanged(server_round: int, reason: str) -> tuple[None, dict[str, Scalar]]:
    log(WARNING, "round %s changes nothing: %s", server_round, reason)
    return None, {}
