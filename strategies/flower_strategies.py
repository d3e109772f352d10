"""Strategies of Flower's that as they are cannot be built by name."""

from typing import Any

from flwr.server.strategy import Bulyan


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
