"""SCAFFOLD: control variates that take the drift out of local training.

Every participant `i` keeps a control variate `c_i`, its estimate of its own gradient, and the
server keeps `c`, their average over all participants. A participant's gradients are corrected by
`c - c_i`, and after `K` steps with learning rate `lr` (option II of the paper)

    c_i+ = c_i - c - delta_i / (K * lr).

The server knows `c`, `delta_i`, `K` and `lr`, and so every change `c_i+ - c_i`: only the delta
goes up, `w_t` and `c` come down.

Source: Karimireddy et al., ICML 2020, arXiv:1910.06378, algorithm 1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.core.client_update import Arrays, ClientUpdate, steps_of


def control_change(c: Arrays, delta: Arrays, step_sum: float, trainable: Sequence[bool]) -> Arrays:
    """Return `c_i+ - c_i`, which is `-c - delta / step_sum`; 0 where nothing is trained.

    Args:
        c: The server's control variate, one array per travelling tensor.
        delta: The participant's update, likewise.
        step_sum: The number of local steps times their learning rate.
        trainable: For each tensor, whether it has a gradient.
    """
    return [
        -c_k - d_k / np.asarray(step_sum, d_k.dtype) if trained else np.zeros_like(d_k)
        for c_k, d_k, trained in zip(c, delta, trainable, strict=True)
    ]


class ControlVariate:
    """The server's side of SCAFFOLD: `c`, the average of the participants' control variates."""

    def __init__(
        self,
        num_participants: int,
        trainable: Sequence[bool],
        learning_rate: Callable[[int], float],
    ) -> None:
        """Set up.

        Args:
            num_participants: Of the whole run, not of a round.
            trainable: For each travelling tensor, whether it has a gradient.
            learning_rate: From the round, 1-based, to that of its local steps.
        """
        self._num_participants = num_participants
        self._trainable = list(trainable)
        self._learning_rate = learning_rate
        self._c: Arrays | None = None

    def value(self, weights: Arrays) -> Arrays:
        """Return `c`, shaped like the weights; 0 before the first round."""
        if self._c is None:
            self._c = [np.zeros_like(w) for w in weights]
        return self._c

    def begin(self, server_round: int) -> "ControlChange":
        """Begin to add up a round's changes.

        Args:
            server_round: The round, 1-based.
        """
        if self._c is None:
            raise ValueError("c is not there: ask for its value first")
        return ControlChange(self._c, self._trainable, self._learning_rate(server_round))

    def move(self, change: "ControlChange") -> None:
        """Apply `c <- c + |S|/N * mean(c_i+ - c_i)` over the participants `S` of a round.

        Args:
            change: What the round's updates were added to.
        """
        self._c = [
            (c + total / self._num_participants).astype(c.dtype)
            for c, total in zip(change.c, change.sums, strict=True)
        ]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint has to keep."""
        return {f"{k:06d}": c for k, c in enumerate(self._c or [])}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._c = [state[name] for name in sorted(state)] or None


class ControlChange:
    """The sum of `c_i+ - c_i` over a round's participants, in the making."""

    def __init__(self, c: Arrays, trainable: Sequence[bool], learning_rate: float) -> None:
        """Begin; `ControlVariate.begin` does."""
        self.c = c
        self.sums = [np.zeros(array.shape, np.float64) for array in c]
        self._trainable = trainable
        self._learning_rate = learning_rate

    def add(self, update: ClientUpdate) -> None:
        """Add a checked update, with its number of local steps."""
        step_sum = steps_of(update) * self._learning_rate
        change = control_change(self.c, update.delta, step_sum, self._trainable)
        for total, term in zip(self.sums, change, strict=True):
            total += term
