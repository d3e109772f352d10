"""From Flower's replies to checked updates: decode, validate, and name what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from logging import WARNING
from typing import Any

import numpy as np
from flwr.common import FitRes
from flwr.common.logger import log
from flwr.server.client_proxy import ClientProxy
from numpy.typing import NDArray

from strategies.codecs import Codec
from strategies.replies import participant_of, sorted_by_participant
from strategies.scaffold import steps_of
from strategies.updates import (
    DELTA,
    LOCAL_STEPS_KEY,
    UPDATE_KEY,
    Arrays,
    ClientUpdate,
    UpdateError,
    check_update,
)
from strategies.wire import decode_arrays

FitResults = list[tuple[ClientProxy, FitRes]]


@dataclass(frozen=True)
class Intake:
    """What came in during a round, sorted by participant.

    Attributes:
        updates: The updates that can be aggregated.
        replies: The replies that they came in, in the same order.
        rejections: What was refused, with the reasons.
    """

    updates: tuple[ClientUpdate, ...]
    replies: tuple[tuple[ClientProxy, FitRes], ...]
    rejections: tuple[UpdateError, ...]


def take_in(
    results: FitResults,
    codec: Codec,
    global_weights: Arrays | None,
    needs_local_steps: bool = False,
) -> Intake:
    """Decode and check the replies of a round; what is refused is logged by name.

    Args:
        results: The replies, in any order. Each holds an encoded delta, unless its metrics
            say `update = "weights"`: then plain weights.
        codec: Undoes what the participants did to their deltas.
        global_weights: `w_t`; `None` where there is none to subtract or to compare with.
            Then the first valid reply sets the form.
        needs_local_steps: Whether to refuse who does not tell its number of local steps.
    """
    updates: list[ClientUpdate] = []
    replies: FitResults = []
    rejections: list[UpdateError] = []
    like = global_weights
    for proxy, result in sorted_by_participant(results):
        try:
            update = _decode(proxy, result, codec, like)
            check_update(update, like if like is not None else update.delta)
            if needs_local_steps:
                steps_of(update)
        except UpdateError as error:
            log(WARNING, "%s", error)
            rejections.append(error)
            continue
        if global_weights is None:
            like = update.delta
        updates.append(update)
        replies.append((proxy, result))
    return Intake(tuple(updates), tuple(replies), tuple(rejections))


def _decode(
    proxy: ClientProxy, result: FitRes, codec: Codec, like: Sequence[NDArray[Any]] | None
) -> ClientUpdate:
    participant = participant_of(proxy)
    steps = result.metrics.get(LOCAL_STEPS_KEY)

    def update_of(arrays: Arrays) -> ClientUpdate:
        return ClientUpdate(participant, arrays, result.num_examples, steps)  # type: ignore[arg-type] # checked

    try:
        arrays = decode_arrays(result.parameters.tensors)
        if like is None:
            return update_of(arrays)
        if result.metrics.get(UPDATE_KEY, DELTA) == DELTA:
            return update_of(codec.decode(arrays, like))
    except ValueError as error:
        raise UpdateError(participant, str(error)) from error
    check_update(update_of(arrays), like)
    with np.errstate(over="ignore"):  # the check of the delta finds what is not finite
        delta: Arrays = [np.subtract(w_i, w_t) for w_i, w_t in zip(arrays, like, strict=True)]
    return update_of(delta)
