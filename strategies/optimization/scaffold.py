"""SCAFFOLD: control variates that take the drift out of local training.

Every participant `i` keeps a control variate `c_i`, its estimate of its own gradient, and the
server keeps `c`, their average over all participants. A participant's gradients are corrected by
`c - c_i`, and after `K` steps with learning rate `lr` (option II of the paper)

    c_i+ = c_i - c - delta_i / (K * lr).

The server knows `c`, `delta_i`, `K` and `lr`, and so every change `c_i+ - c_i`: only the delta
goes up, `w_t` and `c` come down. Where `lr` is 0 no step is taken, nothing is learned of the
gradient, and `c_i` stays as it is.

The server's `c` is the mean of the `c_i` because both follow the same changes. A participant whose
memory is lost begins with `c_i = 0` and says so. Then `c` is off by `c_i / N`, with a `c_i` that
nobody has any more, and it would stay off, since all that follows are changes; the gradients of
every later round would be corrected by a sum that is not 0. To keep every `c_i` on the server too
would take N models there and in each checkpoint. So the round in which it is noticed moves the
weights, and then all begin anew: `c = 0`, and every participant is told to go on from `c_i = 0`.
The mean is exact again, with no more memory, at the price of one start: as in the first round of a
run, the next gradients of each participant are those of plain SGD. Where memories are lost in every
round, so that this is all that ever happens, what is left is federated averaging.

Source: Karimireddy et al., ICML 2020, arXiv:1910.06378, algorithm 1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.core.client_update import Arrays, ClientUpdate, UpdateError, steps_of
from strategies.core.finite import all_finite


def control_change(c: Arrays, delta: Arrays, step_sum: float, trainable: Sequence[bool]) -> Arrays:
    """Return `c_i+ - c_i`, which is `-c - delta / step_sum`; 0 where nothing is trained.

    It is not finite where `delta / step_sum` is not, as the dtype of the delta has both.

    Args:
        c: The server's control variate, one array per travelling tensor.
        delta: The participant's update, likewise.
        step_sum: The number of local steps times their learning rate. With 0 nothing was learned,
            and nothing changes.
        trainable: For each tensor, whether it has a gradient.
    """
    return [
        _change(c_k, d_k, np.asarray(step_sum, d_k.dtype)) if trained else np.zeros_like(d_k)
        for c_k, d_k, trained in zip(c, delta, trainable, strict=True)
    ]


def _change(c: NDArray[Any], delta: NDArray[Any], step_sum: NDArray[Any]) -> NDArray[Any]:
    if step_sum == 0:  # a delta without a step is no delta
        return np.asarray(np.where(delta == 0, 0, np.inf), delta.dtype)
    return np.asarray(-c - delta / step_sum)


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
        learning_rate = self._learning_rate(server_round)
        return ControlChange(self._c, self._trainable, learning_rate, self._num_participants)

    def move(self, change: "ControlChange") -> None:
        """Apply `c <- c + |S|/N * mean(c_i+ - c_i)` over the participants `S` of a round.

        Args:
            change: What the round's updates were added to.
        """
        self._c = change.moved

    def begin_anew(self) -> None:
        """Go back to `c = 0`, with which all participants have to go back to `c_i = 0`."""
        self._c = [np.zeros_like(c) for c in self._c or []] or None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint has to keep."""
        return {f"{k:06d}": c for k, c in enumerate(self._c or [])}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._c = [state[name] for name in sorted(state)] or None


class ControlChange:
    """The sum of `c_i+ - c_i` over a round's participants, in the making.

    Attributes:
        moved: What `c` becomes if the participants added so far are those of the round.
    """

    def __init__(
        self, c: Arrays, trainable: Sequence[bool], learning_rate: float, num_participants: int
    ) -> None:
        """Begin; `ControlVariate.begin` does."""
        self.moved = c
        self._c = c
        self._sums = [np.zeros(array.shape, np.float64) for array in c]
        self._trainable = trainable
        self._learning_rate = learning_rate
        self._num_participants = num_participants

    def add(self, update: ClientUpdate) -> None:
        """Add a checked update, with its number of local steps.

        Raises:
            UpdateError: If `c` would not be finite with it; then it is not added.
        """
        step_sum = steps_of(update) * self._learning_rate
        with np.errstate(over="ignore", invalid="ignore"):
            change = control_change(self._c, update.delta, step_sum, self._trainable)
            sums = [total + term for total, term in zip(self._sums, change, strict=True)]
            moved = [
                np.asarray(c + total / self._num_participants, c.dtype)
                for c, total in zip(self._c, sums, strict=True)
            ]
        if not all_finite(moved):
            raise UpdateError(
                update.participant,
                f"its delta is too large for {update.local_steps:g} local steps with learning "
                f"rate {self._learning_rate:g}: SCAFFOLD's control variate would not be finite",
            )
        self._sums, self.moved = sums, moved
