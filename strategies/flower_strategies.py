"""Strategies of Flower's in a run of this project: seeded, and what they need to work."""

import inspect
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
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import (
    Bulyan,
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    FedAvg,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    Krum,
    Strategy,
)

from strategies.core.client_update import AggregationError, Arrays
from strategies.core.clients import SeededClientManager, sorted_by_participant, those_that_count
from strategies.core.finite import all_finite
from strategies.core.npy import GlobalWeights
from strategies.core.state import attributes_of, restore_attributes

_NEED_OTHER_CLIENTS = (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    FedProx,
)

Failures = list[Any]
"""Flower's type for what did not come back."""


_BULYAN_TAKES = "it takes num_malicious_clients, to_keep and what FedAvg takes"


def bulyan(num_malicious_clients: int = 0, to_keep: int = 0, **fedavg: Any) -> Bulyan:  # noqa: ANN401
    """Bulyan over Krum, as Flower has it; at least 4 f + 3 participants are needed.

    Flower hands `to_keep` on to its Krum, which has no default for it.

    Args:
        num_malicious_clients: f, the most participants that may lie.
        to_keep: How many updates its Krum averages; 0 takes one.
        **fedavg: Whatever `FedAvg` takes.

    Source: El Mhamdi et al., ICML 2018, arXiv:1802.07927.
    """
    if unknown := sorted(set(fedavg) - set(inspect.signature(FedAvg).parameters)):
        # Flower would hand it to its Krum, which fails when the first round has been trained.
        raise TypeError(f"it has no option {unknown[0]}; {_BULYAN_TAKES}")
    return Bulyan(num_malicious_clients=num_malicious_clients, to_keep=to_keep, **fedavg)


def least_results(strategy: Strategy) -> int:
    """Return for how few replies a strategy of Flower's is defined."""
    if isinstance(strategy, Bulyan):
        return 4 * strategy.num_malicious_clients + 3
    if isinstance(strategy, Krum):
        return max(2 * strategy.num_malicious_clients + 3, strategy.num_clients_to_keep)
    return 1


def without_effect(strategy: Strategy, num_results: int) -> str | None:
    """Say why a strategy of Flower's does no more than a plain mean with so many replies."""
    if isinstance(strategy, FedTrimmedAvg) and int(strategy.beta * num_results) == 0:
        return f"beta = {strategy.beta} of {num_results} replies cuts off none"
    if isinstance(strategy, FedMedian) and num_results == 2:
        return "of two replies it is their mean"
    if isinstance(strategy, Krum) and strategy.num_clients_to_keep >= num_results:
        return f"it keeps {strategy.num_clients_to_keep} of {num_results} replies"
    return None


def needs_other_clients(strategy: Strategy) -> bool:
    """Tell whether it, or one that it wraps, leaves work to clients that is not done here."""
    if isinstance(strategy, _NEED_OTHER_CLIENTS):
        return True
    inner = getattr(strategy, "strategy", None)
    return isinstance(inner, Strategy) and needs_other_clients(inner)


class SeededStrategy(Strategy):
    """Any strategy, with the promises that a run makes whatever its strategy is.

    Participants are sampled by seed, round and name; replies are passed on in the order of the
    participants; weights come back in the model's dtypes; a round with too few updates, or whose
    weights or moments would not be finite, changes nothing, what the strategy remembers included;
    and evaluations without examples have no say. What the strategy does with the rest is its own
    affair.

    Attributes:
        strategy: The strategy itself.
        refusal: Why the latest round changed nothing; `None` if that is the strategy's decision.
    """

    def __init__(self, strategy: Strategy, seed: int, min_updates: int = 1) -> None:
        """Set up.

        Args:
            strategy: The strategy.
            seed: Decides which participants are sampled in each round.
            min_updates: With fewer replies than this a round changes nothing.
        """
        super().__init__()
        self.strategy = strategy
        self.refusal: str | None = None
        self._seed = seed
        self._min_updates = min_updates
        self._like: Arrays | None = None  # w_t, for its form

    def __repr__(self) -> str:
        return repr(self.strategy)

    def initialize_parameters(self, client_manager: ClientManager) -> Parameters | None:
        """See `Strategy`."""
        manager = SeededClientManager(client_manager, self._seed, 0)
        return self.strategy.initialize_parameters(client_manager=manager)

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Let the strategy sample, by seed and round."""
        self._like = GlobalWeights.decode(parameters).arrays
        manager = SeededClientManager(client_manager, self._seed, server_round)
        return self.strategy.configure_fit(
            server_round=server_round, parameters=parameters, client_manager=manager
        )

    def aggregate_fit(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, FitRes]],
        failures: Failures,
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """Let the strategy aggregate, if there are enough replies."""
        if results and len(results) < self._min_updates:
            self.refusal = f"{len(results)} valid updates, {self._min_updates} needed"
            return None, {}
        before = attributes_of(self.strategy, Strategy)
        self.refusal = None
        try:
            parameters, metrics = self.strategy.aggregate_fit(
                server_round, sorted_by_participant(results), failures
            )
            if parameters is None:
                return None, metrics
            return self._checked(parameters), metrics
        except AggregationError as error:
            restore_attributes(before)
            self.refusal = str(error)
            return None, {}
        except Exception:
            restore_attributes(before)
            raise

    def _checked(self, parameters: Parameters) -> Parameters:
        """Return new weights in the model's dtypes; the moments of some strategies are float64.

        Raises:
            AggregationError: If they, or what the strategy remembers, cannot be gone on with.
        """
        try:
            arrays = GlobalWeights.decode(parameters).arrays
        except ValueError as error:
            raise AggregationError(f"what the strategy returned is no model: {error}") from error
        like = arrays if self._like is None else self._like
        shapes, expected = [a.shape for a in arrays], [w.shape for w in like]
        if shapes != expected:
            raise AggregationError(
                f"what the strategy returned has the shapes {shapes}, the model has {expected}"
            )
        with np.errstate(over="ignore"):  # what is not finite is found next
            rounded = [np.asarray(a, w.dtype) for a, w in zip(arrays, like, strict=True)]
        if fault := _not_finite(self.strategy, rounded):
            raise AggregationError(fault)
        same = all(a.dtype == w.dtype for a, w in zip(arrays, like, strict=True))
        return parameters if same else ndarrays_to_parameters(rounded)

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """Let the strategy sample, by seed and round."""
        manager = SeededClientManager(client_manager, self._seed, server_round)
        return self.strategy.configure_evaluate(
            server_round=server_round, parameters=parameters, client_manager=manager
        )

    def aggregate_evaluate(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, EvaluateRes]],
        failures: Failures,
    ) -> tuple[float | None, dict[str, Scalar]]:
        """Let the strategy average what counts."""
        usable = those_that_count(results)
        if results and not usable:
            return None, {}
        return self.strategy.aggregate_evaluate(server_round, usable, failures)

    def evaluate(
        self, server_round: int, parameters: Parameters
    ) -> tuple[float, dict[str, Scalar]] | None:
        """See `Strategy`."""
        return self.strategy.evaluate(server_round, parameters=parameters)


def _not_finite(strategy: Strategy, weights: Arrays) -> str | None:
    """Say which of a strategy's weights and moments are not finite."""
    if not all_finite(weights):
        return "the aggregate is not finite"
    shapes = [array.shape for array in weights]
    for holder, attributes in attributes_of(strategy, Strategy):
        for name, value in attributes.items():
            if not isinstance(value, list) or [np.shape(item) for item in value] != shapes:
                continue  # not one array for each of the model's
            if not all_finite([np.asarray(item) for item in value]):
                return f"{name} of {type(holder).__name__} would not be finite"
    return None
