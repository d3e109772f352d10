"""Strategies of Flower's: what cannot be built by name as it is, and what they need to work."""

from typing import Any

from flwr.server.strategy import Bulyan, FedMedian, FedTrimmedAvg, Krum, Strategy


def bulyan(num_malicious_clients: int = 0, to_keep: int = 0, **fedavg: Any) -> Bulyan:  # noqa: ANN401
    """Bulyan over Krum, as Flower has it; at least 4 f + 3 participants are needed.

    Flower hands `to_keep` on to its Krum, which has no default for it.

    Args:
        num_malicious_clients: f, the most participants that may lie.
        to_keep: How many updates its Krum averages; 0 takes one.
        **fedavg: Whatever `FedAvg` takes.

    Source: El Mhamdi et al., ICML 2018, arXiv:1802.07927.
    """
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
