"""Flower's replies: whose they are, in which order they are taken, and which of them count."""

import math
from typing import TypeVar

from flwr.common import EvaluateRes
from flwr.server.client_proxy import ClientProxy

from strategies.updates import participant_order

Result = TypeVar("Result")


def counts(result: EvaluateRes) -> bool:
    """Tell whether an evaluation has a say in the average: finite, and over some examples."""
    return result.num_examples > 0 and math.isfinite(result.loss)


def participant_of(proxy: ClientProxy) -> str:
    """Return the name that identifies a participant in every run, or else its node id."""
    name = proxy.properties.get("participant")
    return name if isinstance(name, str) else str(proxy.cid)


def sorted_by_participant(
    results: list[tuple[ClientProxy, Result]],
) -> list[tuple[ClientProxy, Result]]:
    """Return replies in the order in which they are summed, whatever that of their arrival."""
    return sorted(results, key=lambda pair: participant_order(participant_of(pair[0])))
