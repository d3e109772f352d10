"""Who takes part in a round, of those who are connected."""

from logging import WARNING

from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy

from strategies.replies import participant_of
from strategies.sampling import sample_participants

_WAIT_SECONDS = 86_400  # the default of flwr's own client manager


def draw(
    client_manager: ClientManager,
    num_sampled: int,
    num_required: int,
    seed: int,
    server_round: int,
) -> list[ClientProxy]:
    """Wait for the participants required, and draw some by seed, round and name.

    Args:
        client_manager: Who is connected.
        num_sampled: How many to draw.
        num_required: How many must be connected before.
        seed: Decides, with the round, who is drawn.
        server_round: The round, 1-based.

    Returns:
        Those drawn, sorted by participant; nobody if fewer than `num_sampled` are connected.
    """
    client_manager.wait_for(num_required, timeout=_WAIT_SECONDS)
    proxies = {participant_of(proxy): proxy for proxy in client_manager.all().values()}
    if num_sampled > len(proxies):
        log(WARNING, "%s participants are needed, %s are here", num_sampled, len(proxies))
        return []
    names = sample_participants(proxies, num_sampled, seed=seed, server_round=server_round)
    return [proxies[name] for name in names]
