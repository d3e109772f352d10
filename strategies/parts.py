"""What varies in `DeltaFedAvg`: its parts, and what a round does with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging import WARNING
from typing import Any

import numpy as np
from flwr.common import Parameters, ndarrays_to_parameters
from flwr.common.logger import log
from numpy.typing import NDArray

from strategies.aggregation.base import Aggregator
from strategies.compression.codec import Codec
from strategies.core.bfloat16 import as_sent
from strategies.core.client_update import AggregationError, Arrays
from strategies.core.finite import all_finite, num_not_finite
from strategies.core.model_spec import ModelSpec
from strategies.core.npy import GlobalWeights
from strategies.core.state import ClientStateRounds, held_state, load_state_of, state_of
from strategies.optimization.scaffold import ControlVariate
from strategies.optimization.server_optimizers import ServerOptimizer, plain, step_trainable
from strategies.update_collector import UpdateCollector


@dataclass(frozen=True)
class Parts:
    """The parts of a strategy; what they remember between rounds is saved and loaded as one.

    Attributes:
        codec: Undoes what the participants' codec did.
        aggregator: Turns the checked updates of a round into one delta: step 3.
        server_optimizer: Applies it to the global weights: step 4; `None` adds it.
        server_lr_schedule: From the round to a factor on the optimizer's learning rate.
        model: What the arrays are. The server optimizer steps what is trained; to statistics the
            delta is added. `None`: it steps all.
        control_variate: The server's side of SCAFFOLD, where it is on.
        client_state_rounds: Which updates counted, where participants keep a state.
    """

    codec: Codec
    aggregator: Aggregator
    server_optimizer: ServerOptimizer | None = None
    server_lr_schedule: Callable[[int], float] | None = None
    model: ModelSpec | None = None
    control_variate: ControlVariate | None = None
    client_state_rounds: ClientStateRounds | None = None

    def message(self, weights: GlobalWeights) -> Parameters:
        """Return what is sent down: the global weights and, for SCAFFOLD, `c` after them."""
        sent = self.weights_message(weights)
        if self.control_variate is None:
            return sent
        c = ndarrays_to_parameters(self.control_variate.value(weights.arrays))
        return Parameters([*sent.tensors, *c.tensors], sent.tensor_type)

    def weights_message(self, weights: GlobalWeights) -> Parameters:
        """Return the global weights as they are sent, in the model's own dtypes."""
        narrow = () if self.model is None else self.model.narrow
        if not any(narrow):
            return weights.parameters
        return ndarrays_to_parameters(as_sent(weights.arrays, narrow))

    def instruction(self, participant: str) -> Mapping[str, int]:
        """Return what one participant alone is told: which state it is to load."""
        rounds = self.client_state_rounds
        return {} if rounds is None else rounds.instruction(participant)

    def collector(self, server_round: int, weights: GlobalWeights | None) -> UpdateCollector:
        """Begin to collect a round's updates.

        Args:
            server_round: The round, 1-based.
            weights: The global weights `w_t`; `None` where there are none yet.
        """
        control = self.control_variate
        change = None if control is None else control.begin(server_round)
        like = None if weights is None else weights.arrays
        names = () if self.model is None else self.model.names
        return UpdateCollector(self.codec, like, self.aggregator, change, names)

    def finish(
        self, server_round: int, weights: GlobalWeights | None, collector: UpdateCollector
    ) -> Arrays:
        """Aggregate a round's updates and apply them, steps 3 and 4: the whole of it or nothing.

        Args:
            server_round: The round, 1-based.
            weights: The global weights `w_t`; `None` where there are none yet.
            collector: What has come in.

        Returns:
            The new global weights.

        Raises:
            AggregationError: If the updates cannot be aggregated, or weights or state would not be
                finite. What the parts remember is then as it was before; privacy that was spent
                stays spent.
        """
        moved = {"aggregator": self.aggregator, "server-optimizer": self.server_optimizer}
        before = state_of(moved)
        try:
            new_weights = self._step(server_round, weights, collector.aggregate())
            if not all_finite(new_weights):
                raise AggregationError("the aggregate overflows")
            _check_finite(held_state(moved))
        except AggregationError:
            load_state_of(moved, before)
            raise
        self._record(server_round, collector)
        return new_weights

    def _step(self, server_round: int, weights: GlobalWeights | None, delta: Arrays) -> Arrays:
        """Return the new global weights: step 4. They may have overflowed."""
        if weights is None:
            return delta
        schedule = self.server_lr_schedule
        factor = 1.0 if schedule is None else schedule(server_round)
        with np.errstate(over="ignore"):  # an overflow is looked for, and dealt with, after
            if self.server_optimizer is None:
                return plain(weights.arrays, delta)
            trainable = None if self.model is None else self.model.trainable
            return step_trainable(self.server_optimizer, weights.arrays, delta, factor, trainable)

    def _record(self, server_round: int, collector: UpdateCollector) -> None:
        """Let the parts that follow the participants know whose updates have counted."""
        anew = self._begins_anew(collector.state_lost)
        if self.control_variate is not None and collector.control_change is not None and not anew:
            self.control_variate.move(collector.control_change)
        if self.client_state_rounds is not None and not anew:
            self.client_state_rounds.record(server_round, collector.participants)

    def _begins_anew(self, state_lost: Sequence[str]) -> bool:
        """Deal with memories that were lost; tell whether all participants begin anew for it."""
        if not state_lost:
            return False
        who = f"what participant {', '.join(state_lost)} remembered of the run is lost"
        if self.control_variate is None:
            log(WARNING, "%s: what its codec has dropped so far is never sent", who)
            return False
        log(WARNING, "%s; SCAFFOLD's control variates begin anew for all, from 0", who)
        self.control_variate.begin_anew()
        if self.client_state_rounds is not None:
            self.client_state_rounds.begin_anew()
        return True

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what the parts have to remember between rounds, as named arrays."""
        return state_of(self._with_memory())

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned for parts built alike.

        Raises:
            ValueError: If it is that of other parts.
        """
        load_state_of(self._with_memory(), state)

    def checkpoint_saved(self) -> None:
        """Learn that what `state` returned is safe: a resume will not go back behind it."""
        if self.client_state_rounds is not None:
            self.client_state_rounds.checkpoint_saved()

    def _with_memory(self) -> dict[str, object]:
        return {
            "aggregator": self.aggregator,
            "server-optimizer": self.server_optimizer,
            "control-variate": self.control_variate,
            "client-state": self.client_state_rounds,
        }


def _check_finite(state: Mapping[str, NDArray[Any]]) -> None:
    """Raise `AggregationError` if what a part would remember is not finite."""
    for name, array in state.items():
        if bad := num_not_finite(array):
            raise AggregationError(
                f"{bad} values of the state of the {name.replace('/', ', ', 1)} would not be finite"
            )
