"""From Flower's replies to one delta: decode, check, name what is refused, and collect the rest."""

from collections.abc import Sequence
from logging import WARNING
from typing import Any

import numpy as np
from flwr.common import FitRes
from flwr.common.logger import log
from flwr.server.client_proxy import ClientProxy
from numpy.typing import NDArray

from strategies.aggregation.base import Aggregator
from strategies.compression.codec import Codec, Identity
from strategies.core.client_update import (
    DELTA,
    LOCAL_STEPS_KEY,
    UPDATE_KEY,
    WEIGHTS,
    AggregationError,
    Arrays,
    ClientUpdate,
    UpdateError,
    UpdateSum,
    check_sum,
    check_update,
    form_fault,
    steps_of,
)
from strategies.core.clients import participant_of
from strategies.core.metrics import Scalar
from strategies.core.npy import decode_arrays
from strategies.core.state import STATE_LOST_KEY
from strategies.optimization.scaffold import ControlChange

FitResults = list[tuple[ClientProxy, FitRes]]


class UpdateCollector:
    """The one way in for a round's updates: one by one, or as a sum that is already formed.

    An update is added up as it comes where the aggregator can do that, and held where it has
    to see all of them.

    Attributes:
        participants: Whose updates count, in the order in which they came in.
        metrics: The number of examples and the metrics of each of them.
        rejections: What was refused, with the reasons.
        state_lost: Who of the participants says that what it remembered was lost.
        control_change: What the updates make of SCAFFOLD's control variate, where it is on.
    """

    def __init__(
        self,
        codec: Codec,
        global_weights: Arrays | None,
        aggregator: Aggregator,
        control_change: ControlChange | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """Begin a round.

        Args:
            codec: Undoes what the participants did to their deltas.
            global_weights: `w_t`; `None` where there is none to subtract or to compare with.
                Then the first valid reply sets the form.
            aggregator: What is to become of the updates.
            control_change: SCAFFOLD's, where it is on.
            names: Of the model's arrays, for messages.
        """
        self.participants: list[str] = []
        self.metrics: list[tuple[int, dict[str, Scalar]]] = []
        self.rejections: list[UpdateError] = []
        self.state_lost: list[str] = []
        self.control_change = control_change
        self._codec = codec
        self._names = names
        self._weights = global_weights
        self._like = global_weights  # or else, for its form, the first valid reply
        self._takes_weights = aggregator.takes_weights
        self._needs_steps = control_change is not None or aggregator.needs_local_steps
        self._accumulator = aggregator.begin()

    def add(self, proxy: ClientProxy, result: FitRes) -> None:
        """Decode and check the next reply; what is refused is logged by name.

        Args:
            proxy: Who sent it.
            result: Holds an encoded delta where its metrics say `update = "delta"`; plain
                weights where they say `"weights"` or, as a stock client's, nothing: see
                `_fault_of_kind`.
        """
        try:
            update = self._checked(proxy, result)
            if self.control_change is not None:
                self.control_change.add(update)
        except UpdateError as error:
            log(WARNING, "%s", error)
            self.rejections.append(error)
            return
        if self._like is None:
            self._like = update.delta
        self.participants.append(update.participant)
        self.metrics.append((update.num_examples, result.metrics))
        if result.metrics.get(STATE_LOST_KEY) is True:
            self.state_lost.append(update.participant)
        self._accumulator.add(update)

    def add_sum(self, results: FitResults, mean: Arrays) -> None:
        """Take in the sum of some participants' deltas, which nobody here sees one by one.

        Args:
            results: Whose deltas are in it: numbers of examples and metrics; no parameters.
            mean: The mean of their deltas, weighted by these numbers.

        Raises:
            AggregationError: If the sum cannot be used, or the round has to see every update.
        """
        names = tuple(participant_of(proxy) for proxy, _ in results)
        update_sum = UpdateSum(names, sum(result.num_examples for _, result in results), mean)
        check_sum(update_sum, mean if self._like is None else self._like)
        if self._needs_steps:
            raise AggregationError(
                f"the deltas of {len(names)} participants come as a sum, and their numbers of "
                "local steps are needed one by one"
            )
        self._accumulator.add_sum(update_sum)
        self.participants += names
        self.metrics += [(result.num_examples, result.metrics) for _, result in results]

    def aggregate(self) -> Arrays:
        """Return the delta that the updates become: step 3.

        Raises:
            AggregationError: If the aggregator cannot use them, or what it makes of them does not
                have the model's form.
        """
        delta = self._accumulator.result()
        if self._like is not None and (fault := form_fault(delta, self._like)):
            raise AggregationError(f"what the aggregator returned is no delta: {fault}")
        return delta

    def _checked(self, proxy: ClientProxy, result: FitRes) -> ClientUpdate:
        if self._weights is not None and (fault := self._fault_of_kind(result)):
            raise UpdateError(participant_of(proxy), fault)
        update = _decode(proxy, result, self._codec, self._weights)
        check_update(update, self._like if self._like is not None else update.delta, self._names)
        if self._needs_steps:
            steps_of(update)
        return update

    def _fault_of_kind(self, result: FitRes) -> str | None:
        """Say why a reply cannot be read as what it says, or does not say, that it holds.

        A reply that says nothing is a stock client's and holds weights. Deltas that travel in a
        code may look like anything, so there it is not guessed at.
        """
        kind = result.metrics.get(UPDATE_KEY)
        if kind == DELTA:
            return None
        if kind not in (None, WEIGHTS):
            return f"it says that it holds {kind!r}, which is neither {DELTA!r} nor {WEIGHTS!r}"
        if not self._takes_weights:
            return "it holds weights, or does not say what; a delta with its noise is needed"
        if kind is None and type(self._codec) is not Identity:
            return (
                "it does not say whether it holds weights or a delta, and deltas are encoded here; "
                f'a client that knows says {UPDATE_KEY} = "{DELTA}" in its metrics'
            )
        return None


def _decode(
    proxy: ClientProxy,
    result: FitRes,
    codec: Codec,
    weights: Sequence[NDArray[Any]] | None,
) -> ClientUpdate:
    participant = participant_of(proxy)
    steps = result.metrics.get(LOCAL_STEPS_KEY)

    def update_of(arrays: Arrays) -> ClientUpdate:
        return ClientUpdate(participant, arrays, result.num_examples, steps)  # type: ignore[arg-type] # checked

    try:
        arrays = decode_arrays(result.parameters.tensors)
        if weights is None:
            return update_of(arrays)
        if result.metrics.get(UPDATE_KEY) == DELTA:
            return update_of(codec.decode(arrays, weights))
    except ValueError as error:
        raise UpdateError(participant, str(error)) from error
    check_update(update_of(arrays), weights)
    with np.errstate(over="ignore"):  # the check of the delta finds what is not finite
        delta: Arrays = [np.subtract(w_i, w_t) for w_i, w_t in zip(arrays, weights, strict=True)]
    return update_of(delta)
