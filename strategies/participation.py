"""Which update of each participant counted last: what its own state has to go on from.

Some methods let a participant remember something between rounds: SCAFFOLD its control variate,
error feedback what a codec dropped. That memory is right only if it goes on from the round in
which the participant's update last counted: not if the update was lost or refused, nor if the
server was killed and resumes an earlier round. So the server says in every instruction which
round that is, and participants keep the states that it may still ask for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATE_ROUND_KEY = "state-round"
"""In the fit config: the round whose state to go on from; 0: begin anew."""

STATE_KEEP_KEY = "state-keep-from"
"""In the fit config: the oldest round whose state the server may still ask for."""


class Participation:
    """The round in which each participant's update last counted."""

    def __init__(self) -> None:
        self._counted: dict[str, int] = {}
        self._checkpointed: dict[str, int] = {}

    def instruction(self, participant: str) -> dict[str, int]:
        """Return what to tell a participant about its state."""
        return {
            STATE_ROUND_KEY: self._counted.get(participant, 0),
            STATE_KEEP_KEY: self._checkpointed.get(participant, 0),
        }

    def record(self, server_round: int, participants: Sequence[str]) -> None:
        """Note whose updates counted in a round."""
        for participant in participants:
            self._counted[participant] = server_round

    def checkpoint_saved(self) -> None:
        """Note that a resume will not go back behind this moment."""
        self._checkpointed = dict(self._counted)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint has to keep, by participant."""
        return {name: np.array(counted) for name, counted in self._counted.items()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._counted = {name: int(counted) for name, counted in state.items()}
        self.checkpoint_saved()
