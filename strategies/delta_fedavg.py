"""`DeltaFedAvg`, the one Flower strategy of this project."""

import math
from collections.abc import Callable
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

from strategies.aggregators import Aggregator, weighted_mean
from strategies.finite import num_not_finite
from strategies.metrics import weighted_average
from strategies.replies import counts, participant_of, sorted_by_participant
from strategies.sampling import sample_participants
from strategies.updates import (
    DELTA,
    UPDATE_KEY,
    Arrays,
    ClientUpdate,
    UpdateError,
    check_update,
)
from strategies.wire import decode_arrays

_WAIT_SECONDS = 86_400  # the default of flwr's own client manager

FitResults = list[tuple[ClientProxy, FitRes]]
EvaluateResults = list[tuple[ClientProxy, EvaluateRes]]


class DeltaFedAvg(FedAvg):
    """Federated averaging by weighted deltas; a drop-in for `flwr`'s `FedAvg`.

    Each participant returns `delta_i = w_i - w_t`, and the new global weights are
    `w_t + sum(n_i / n * delta_i)`. Beyond `FedAvg` it validates every update and goes on
    without the bad ones, samples by seed and participant, sums in an order that does not
    depend on arrival, and averages the metrics.

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
        aggregator: Aggregator = weighted_mean,
        min_updates: int = 1,
        over_selection: float = 0.0,
        fit_metrics_aggregation_fn: Callable[..., dict[str, Scalar]] = weighted_average,
        evaluate_metrics_aggregation_fn: Callable[..., dict[str, Scalar]] = weighted_average,
        **fedavg: Any,  # noqa: ANN401 - whatever FedAvg takes, checked by FedAvg
    ) -> None:
        """Set up the strategy.

        Args:
            seed: Decides which participants are sampled in each round.
            aggregator: Turns the checked updates of a round into one delta.
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
        self.aggregator = aggregator
        self.min_updates = min_updates
        self.over_selection = over_selection
        self.rejections: tuple[UpdateError, ...] = ()
        self._global_weights: Arrays | None = None  # w_t of the round in progress

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
        """Remember `w_t`, sample the participants and ask them for deltas."""
        self._global_weights = decode_arrays(parameters.tensors)
        config: dict[str, Scalar] = {}
        if self.on_fit_config_fn is not None:
            config.update(self.on_fit_config_fn(server_round))
        config[UPDATE_KEY] = DELTA

        num_available = client_manager.num_available()
        num_sampled, num_required = self.num_fit_clients(num_available)
        if self.over_selection > 0:
            num_sampled = min(num_available, math.ceil(num_sampled * (1 + self.over_selection)))
        sampled = self._sample(server_round, client_manager, num_sampled, num_required)
        return [(proxy, FitIns(parameters, config)) for proxy in sampled]

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
        sampled = self._sample(server_round, client_manager, *sizes)
        return [(proxy, EvaluateIns(parameters, config)) for proxy in sampled]

    def _sample(
        self,
        server_round: int,
        client_manager: ClientManager,
        num_sampled: int,
        num_required: int,
    ) -> list[ClientProxy]:
        """Wait for the participants required, and draw some by seed, round and name."""
        client_manager.wait_for(num_required, timeout=_WAIT_SECONDS)
        proxies = {participant_of(proxy): proxy for proxy in client_manager.all().values()}
        if num_sampled > len(proxies):
            log(WARNING, "%s participants are needed, %s are here", num_sampled, len(proxies))
            return []
        names = sample_participants(proxies, num_sampled, seed=self.seed, server_round=server_round)
        return [proxies[name] for name in names]

    def aggregate_fit(
        self,
        server_round: int,
        results: FitResults,
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """Aggregate the valid updates and apply them: steps 3 and 4 of the algorithm.

        Args:
            server_round: The round, 1-based.
            results: The replies, in any order. Each holds a delta unless its metrics say
                `update = "weights"`. Before any `configure_fit` there is no `w_t` to add
                a delta to, and replies are averaged as they are, like `FedAvg` does.
            failures: Participants that did not reply.

        Returns:
            The new global weights and the aggregated metrics, or `(None, {})`, which
            means that the global model stays as it was: no update was valid, or there
            were failures and `accept_failures` is off.
        """
        updates, accepted = self._valid_updates(sorted_by_participant(results))
        needed = max(1, self.min_updates)
        if len(updates) < needed:
            line = "round %s changes nothing: %s valid updates, %s needed"
            log(WARNING, line, server_round, len(updates), needed)
            return None, {}
        if not self.accept_failures and (failures or self.rejections):
            return None, {}

        delta = self.aggregator(updates)  # step 3
        weights = self._global_weights
        new_weights = delta if weights is None else _add(weights, delta)  # step 4

        if any(num_not_finite(array) for array in new_weights):
            log(WARNING, "round %s: the aggregate overflows and is dropped", server_round)
            return None, {}
        return ndarrays_to_parameters(new_weights), self._aggregate_metrics(accepted)

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

    def _valid_updates(self, results: FitResults) -> tuple[list[ClientUpdate], FitResults]:
        """Decode and check the replies; what is refused is logged and kept by name."""
        updates: list[ClientUpdate] = []
        accepted: FitResults = []
        rejections: list[UpdateError] = []
        like = self._global_weights
        for proxy, result in results:
            try:
                update = self._decode(proxy, result)
                check_update(update, like if like is not None else update.delta)
            except UpdateError as error:
                log(WARNING, "%s", error)
                rejections.append(error)
                continue
            if like is None:
                like = update.delta  # without a w_t, the first valid one sets the form
            updates.append(update)
            accepted.append((proxy, result))
        self.rejections = tuple(rejections)
        return updates, accepted

    def _decode(self, proxy: ClientProxy, result: FitRes) -> ClientUpdate:
        participant = participant_of(proxy)
        try:
            arrays = decode_arrays(result.parameters.tensors)
        except ValueError as error:
            raise UpdateError(participant, str(error)) from error
        update = ClientUpdate(participant, arrays, result.num_examples)
        if self._global_weights is None or result.metrics.get(UPDATE_KEY, DELTA) == DELTA:
            return update
        check_update(update, self._global_weights)
        pairs = zip(arrays, self._global_weights, strict=True)
        with np.errstate(over="ignore"):  # the check of the delta finds what is not finite
            delta: Arrays = [np.subtract(w_i, w_t) for w_i, w_t in pairs]
        return ClientUpdate(participant, delta, result.num_examples)

    def _aggregate_metrics(self, accepted: FitResults) -> dict[str, Scalar]:
        if self.fit_metrics_aggregation_fn is None:
            return {}
        return self.fit_metrics_aggregation_fn(
            [(result.num_examples, result.metrics) for _, result in accepted]
        )


def _add(weights: Arrays, delta: Arrays) -> Arrays:
    with np.errstate(over="ignore"):  # an overflow is looked for, and dealt with, by the caller
        return [np.add(w_t, d) for w_t, d in zip(weights, delta, strict=True)]
