"""A strategy as a round sees it: weights as arrays, replies one by one."""

from collections.abc import Sequence
from logging import WARNING
from typing import Any, Protocol

from flwr.common import FitIns, FitRes, Scalar
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg, Strategy

from strategies.aggregation.base import PrivacySpent
from strategies.core.client_update import Arrays, ClientUpdate, UpdateError, check_update
from strategies.core.clients import participant_of
from strategies.core.finite import all_finite
from strategies.core.npy import GlobalWeights, decode_arrays
from strategies.delta_fedavg import DeltaFedAvg
from strategies.flower_strategies import SeededStrategy
from strategies.update_collector import FitResults

Metrics = dict[str, Scalar]


class RoundStrategy(Protocol):
    """What a round asks of a strategy.

    Attributes:
        flower: The strategy, for what is the same for all: evaluation by participants.
    """

    flower: Strategy

    def begin_round(
        self, server_round: int, weights: GlobalWeights, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Sample the participants, and return what each is asked to do."""
        ...

    def replies_needed(self, num_available: int) -> int | None:
        """Return how many replies end a round; `None` waits for all that were asked."""
        ...

    def receive(self, server_round: int, proxy: ClientProxy, result: FitRes) -> None:
        """Take in a reply; they come in the order of the participants."""
        ...

    def receive_sum(self, server_round: int, results: FitResults, mean: Arrays) -> None:
        """Take in a weighted mean of deltas; see `DeltaFedAvg.receive_sum`."""
        ...

    def finish_round(
        self, server_round: int, failures: list[Any]
    ) -> tuple[GlobalWeights | None, Metrics]:
        """Return the new global weights, or `None` where the model stays as it was; and metrics."""
        ...

    def rejections(self) -> dict[str, str]:
        """Return whose updates the latest round refused, with the reasons."""
        ...

    def unchanged(self) -> str | None:
        """Return why the latest round left the model as it was; `None` if it did not."""
        ...

    def privacy_spent(self) -> PrivacySpent | None:
        """Return how much privacy is spent; `None` where there is no differential privacy."""
        ...

    def charge(self, participants: Sequence[str]) -> None:
        """Pay for a sum that the server has seen, even if it is of no use."""
        ...

    def evaluate(self, server_round: int, weights: GlobalWeights) -> tuple[float, Metrics] | None:
        """Evaluate on the server's test set; `None` if there is none."""
        ...


def round_strategy(strategy: Strategy) -> RoundStrategy:
    """Return a strategy as a round sees it: this project's own, or any of Flower's.

    A class derived from `DeltaFedAvg` that has its own `configure_fit` or `aggregate_fit` is called
    by these, as Flower would.
    """
    if not isinstance(strategy, DeltaFedAvg):
        return FlowerRounds(strategy)
    kind = type(strategy)
    derived = kind.configure_fit, kind.aggregate_fit
    if derived != (DeltaFedAvg.configure_fit, DeltaFedAvg.aggregate_fit):
        return FlowerRounds(strategy)
    return DeltaRounds(strategy)


class DeltaRounds:
    """`DeltaFedAvg`: takes updates and sums as they come, and weights as arrays."""

    def __init__(self, strategy: DeltaFedAvg) -> None:
        self.flower: Strategy = strategy
        self._strategy = strategy
        self._aggregator = strategy.parts.aggregator
        self.begin_round = strategy.begin_round
        self.receive = strategy.receive
        self.receive_sum = strategy.receive_sum
        self.privacy_spent = self._aggregator.privacy_spent
        self.charge = self._aggregator.charge

    def replies_needed(self, num_available: int) -> int | None:
        """See `RoundStrategy`."""
        if self._strategy.over_selection == 0:
            return None
        return self._strategy.num_needed(num_available)

    def finish_round(
        self, server_round: int, failures: list[Any]
    ) -> tuple[GlobalWeights | None, Metrics]:
        """See `RoundStrategy`."""
        return self._strategy.finish_round(server_round, len(failures))

    def rejections(self) -> dict[str, str]:
        """See `RoundStrategy`."""
        return {error.participant: error.reason for error in self._strategy.rejections}

    def unchanged(self) -> str | None:
        """See `RoundStrategy`."""
        return self._strategy.refusal

    def evaluate(self, server_round: int, weights: GlobalWeights) -> tuple[float, Metrics] | None:
        """See `RoundStrategy`."""
        evaluate = self._strategy.evaluate_fn
        return None if evaluate is None else evaluate(server_round, weights.arrays, {})


class FlowerRounds:
    """Any strategy of Flower's: replies are held until the round ends, weights are bytes to it.

    Flower's strategies check nothing, so the weights that participants return are checked here as
    deltas are by `DeltaFedAvg`, and what a strategy raises ends the round, not the run.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.flower = strategy
        self._weights: GlobalWeights | None = None
        self._results: FitResults = []
        self._rejections: dict[str, str] = {}
        self._unchanged: str | None = None

    def begin_round(
        self, server_round: int, weights: GlobalWeights, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """See `RoundStrategy`."""
        self._weights, self._results = weights, []
        self._rejections, self._unchanged = {}, None
        return self.flower.configure_fit(
            server_round=server_round,
            parameters=weights.parameters,
            client_manager=client_manager,
        )

    def replies_needed(self, num_available: int) -> int | None:
        """See `RoundStrategy`: all."""
        return None

    def receive(self, server_round: int, proxy: ClientProxy, result: FitRes) -> None:
        """See `RoundStrategy`; what is refused is logged by name."""
        # One that is derived from DeltaFedAvg gets deltas, and checks them itself.
        if not isinstance(self.flower, DeltaFedAvg):
            try:
                self._check(proxy, result)
            except UpdateError as error:
                log(WARNING, "%s", error)
                self._rejections[error.participant] = error.reason
                return
        self._results.append((proxy, result))

    def _check(self, proxy: ClientProxy, result: FitRes) -> None:
        participant = participant_of(proxy)
        try:
            arrays = decode_arrays(result.parameters.tensors)
        except ValueError as error:
            raise UpdateError(participant, str(error)) from error
        # Flower's strategies may change the dtype of the weights, participants go by their model's.
        check_update(ClientUpdate(participant, arrays, result.num_examples), like=arrays)
        if self._weights is not None and _shapes(GlobalWeights(arrays)) != _shapes(self._weights):
            raise UpdateError(participant, "its arrays differ in number or shape from the model's")

    def receive_sum(self, server_round: int, results: FitResults, mean: Arrays) -> None:
        """Refuse: these strategies aggregate weights, one by one."""
        raise TypeError(f"{self.flower!r} takes no sum of deltas; run it without masks")

    def finish_round(
        self, server_round: int, failures: list[Any]
    ) -> tuple[GlobalWeights | None, Metrics]:
        """See `RoundStrategy`."""
        results, self._results = self._results, []
        try:
            parameters, metrics = self.flower.aggregate_fit(
                server_round,
                results,
                [*failures, *map(RuntimeError, self._rejections.values())],
            )
            new_weights = None if parameters is None else GlobalWeights.decode(parameters)
        except Exception as error:  # whatever a strategy that is not ours may raise
            return self._leave(server_round, f"{type(error).__name__}: {error}")
        if new_weights is None:
            told: str | None = getattr(self.flower, "refusal", None)  # one of this project says why
            reason = told or f"{len(results)} valid updates made no aggregate"
            return self._leave(server_round, reason)
        if self._weights is not None and _shapes(new_weights) != _shapes(self._weights):
            return self._leave(server_round, "the aggregate does not have the model's shapes")
        if not all_finite(new_weights.arrays):
            return self._leave(server_round, "the aggregate is not finite")
        return new_weights, metrics

    def _leave(self, server_round: int, reason: str) -> tuple[None, Metrics]:
        self._unchanged = reason
        log(WARNING, "round %s changes nothing: %s", server_round, reason)
        return None, {}

    def rejections(self) -> dict[str, str]:
        """See `RoundStrategy`."""
        if isinstance(self.flower, DeltaFedAvg):
            return {error.participant: error.reason for error in self.flower.rejections}
        return self._rejections

    def unchanged(self) -> str | None:
        """See `RoundStrategy`."""
        return self._unchanged

    def privacy_spent(self) -> PrivacySpent | None:
        """See `RoundStrategy`: privacy is a part of this project's own strategy."""
        return None

    def charge(self, participants: Sequence[str]) -> None:
        """See `RoundStrategy`: nothing is spent."""

    def evaluate(self, server_round: int, weights: GlobalWeights) -> tuple[float, Metrics] | None:
        """See `RoundStrategy`."""
        strategy = self.flower.strategy if isinstance(self.flower, SeededStrategy) else self.flower
        if isinstance(strategy, FedAvg) and type(strategy).evaluate is FedAvg.evaluate:
            # Without bytes in between: to parse their headers in two threads at once may fail in
            # Python 3.11 ("AST constructor recursion depth mismatch").
            evaluate = strategy.evaluate_fn
            return None if evaluate is None else evaluate(server_round, weights.arrays, {})
        return strategy.evaluate(server_round, parameters=weights.parameters)


def _shapes(weights: GlobalWeights) -> list[tuple[int, ...]]:
    return [array.shape for array in weights.arrays]
