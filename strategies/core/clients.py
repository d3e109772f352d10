"""Flower's clients: who they are, which are sampled, and which of their replies count."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from logging import WARNING
from typing import Protocol, TypeVar

import numpy as np
from flwr.common import EvaluateRes
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy

from strategies.core.client_update import participant_order

Result = TypeVar("Result")


def participant_of(proxy: ClientProxy) -> str:
    """Return the name that identifies a participant in every run, or else its node id."""
    name = proxy.properties.get("participant")
    return name if isinstance(name, str) else str(proxy.cid)


def sorted_by_participant(
    results: Sequence[tuple[ClientProxy, Result]],
) -> list[tuple[ClientProxy, Result]]:
    """Return replies in the order in which they are summed, whatever that of their arrival."""
    return sorted(results, key=lambda pair: participant_order(participant_of(pair[0])))


def those_that_count(
    results: Sequence[tuple[ClientProxy, EvaluateRes]],
) -> list[tuple[ClientProxy, EvaluateRes]]:
    """Return the evaluations with a say in the average, sorted: finite, and over some examples."""
    return [
        (proxy, result)
        for proxy, result in sorted_by_participant(results)
        if result.num_examples > 0 and math.isfinite(result.loss)
    ]


# Keeps the stream of random numbers apart from the others derived from the same seed.
_SAMPLING_STREAM = 0x5A3B


def sample_names(
    participants: Iterable[str], num_sampled: int, *, seed: int, server_round: int, draw: int = 0
) -> list[str]:
    """Draw participants for a round without replacement.

    The draw depends on the names, the seed and the round alone: not on the order in which
    participants connected, nor on earlier draws, so that a resumed run samples as an
    uninterrupted one.

    Args:
        participants: The names of those available, in any order.
        num_sampled: How many to draw; all of them if there are fewer.
        seed: The seed of the run.
        server_round: The round, 1-based.
        draw: Which draw of the round it is, for whoever draws more than once; 0-based.

    Returns:
        The names drawn, sorted.
    """
    available = sorted(set(participants), key=participant_order)
    if num_sampled >= len(available):
        return available
    further = [draw] if draw else []
    generator = np.random.default_rng([_SAMPLING_STREAM, seed, server_round, *further])
    drawn = generator.choice(len(available), size=num_sampled, replace=False)
    return [available[index] for index in sorted(drawn.tolist())]


def most_participations(num_available: int, num_sampled: int, *, seed: int, rounds: int) -> int:
    """Return in how many of the first rounds the participant drawn most often takes part.

    The draw knows participants by their place in the sorted names, so the number does not
    depend on what they are called.

    Args:
        num_available: Participants in every round.
        num_sampled: How many are drawn in a round.
        seed: The seed of the run.
        rounds: The number of rounds, at least 1.
    """
    names = [str(place) for place in range(num_available)]
    drawn = Counter(
        name
        for server_round in range(1, rounds + 1)
        for name in sample_names(names, num_sampled, seed=seed, server_round=server_round)
    )
    return max(drawn.values())


_WAIT_SECONDS = 86_400  # the default of flwr's own client manager


class Selects(Protocol):
    """Decides which clients may be drawn: Flower's `Criterion`."""

    def select(self, client: ClientProxy) -> bool:
        """Tell whether a client may be drawn."""
        ...


def sample_clients(
    client_manager: ClientManager,
    num_sampled: int,
    num_required: int,
    seed: int,
    server_round: int,
    draw: int = 0,
    criterion: Selects | None = None,
) -> list[ClientProxy]:
    """Wait for the participants required, and draw some by seed, round and name.

    Args:
        client_manager: Who is connected.
        num_sampled: How many to draw.
        num_required: How many must be connected before.
        seed: Decides, with the round, who is drawn.
        server_round: The round, 1-based.
        draw: See `sample_names`.
        criterion: Decides who may be drawn; all may by default.

    Returns:
        Those drawn, sorted by participant; nobody if fewer than `num_sampled` may be.
    """
    client_manager.wait_for(num_required, timeout=_WAIT_SECONDS)
    proxies = {
        participant_of(proxy): proxy
        for proxy in client_manager.all().values()
        if criterion is None or criterion.select(proxy)
    }
    if num_sampled > len(proxies):
        log(WARNING, "%s participants are needed, %s are here", num_sampled, len(proxies))
        return []
    names = sample_names(proxies, num_sampled, seed=seed, server_round=server_round, draw=draw)
    return [proxies[name] for name in names]


class SeededClientManager(ClientManager):
    """A client manager as a strategy sees it in one round: it samples by seed, round and name.

    Flower's own draws from Python's global generator, among node ids in the order in which they
    connected: another choice in every run.
    """

    def __init__(self, client_manager: ClientManager, seed: int, server_round: int) -> None:
        """Set up.

        Args:
            client_manager: Who is connected; asked for everything but samples.
            seed: Of the run.
            server_round: The round, 1-based.
        """
        self._client_manager = client_manager
        self._seed = seed
        self._server_round = server_round
        self._num_draws = 0

    def num_available(self) -> int:
        """Return how many are connected."""
        return self._client_manager.num_available()

    def register(self, client: ClientProxy) -> bool:
        """Let a client in; see `ClientManager`."""
        return self._client_manager.register(client)

    def unregister(self, client: ClientProxy) -> None:
        """Let a client go."""
        self._client_manager.unregister(client)

    def all(self) -> dict[str, ClientProxy]:
        """Return who is connected, by node id."""
        return self._client_manager.all()

    def wait_for(self, num_clients: int, timeout: int = _WAIT_SECONDS) -> bool:
        """Wait until so many are connected; tell whether they are."""
        return self._client_manager.wait_for(num_clients, timeout)

    def sample(
        self,
        num_clients: int,
        min_num_clients: int | None = None,
        criterion: Selects | None = None,
    ) -> list[ClientProxy]:
        """Draw clients; see `ClientManager`. Further draws in the round are others.

        Returns:
            Those drawn, sorted by participant; nobody if there are fewer than `num_clients`.
        """
        self._num_draws += 1
        return sample_clients(
            self._client_manager,
            num_clients,
            num_clients if min_num_clients is None else min_num_clients,
            self._seed,
            self._server_round,
            self._num_draws - 1,
            criterion,
        )
