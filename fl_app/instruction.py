"""What the server says with a message to train, read once and checked."""

from collections.abc import Mapping
from dataclasses import dataclass

from flwr.common import Scalar

from fl_app.protocol import DATASET_KEY, EVALUATE_KEY, ROUND_KEY, RUN_KEY
from strategies.participation import STATE_KEEP_KEY, STATE_ROUND_KEY
from strategies.private_mean import CLIP_NORM_KEY
from strategies.updates import DELTA, UPDATE_KEY


@dataclass(frozen=True)
class FitInstruction:
    """The config of a message to train.

    Attributes:
        server_round: The round; `None` where the strategy does not tell.
        wants_delta: Whether `w_i - w_t` is asked for; Flower's own strategies expect `w_i`.
        dataset: The set that the server resolved, if it did.
        run: The name of the run; "" where the strategy does not tell.
        evaluates: Whether to evaluate the weights received before training on them.
        state_round: The round whose memory to go on from; 0 is none.
        state_keep_from: The oldest round whose memory may still be asked for.
        clip_norm: The norm to clip the delta to, where it moves from round to round.
    """

    server_round: int | None = None
    wants_delta: bool = False
    dataset: str | None = None
    run: str = ""
    evaluates: bool = False
    state_round: int = 0
    state_keep_from: int = 0
    clip_norm: float | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Scalar]) -> "FitInstruction":
        """Read the config that came with the message; unknown keys mean nothing."""
        server_round, dataset = config.get(ROUND_KEY), config.get(DATASET_KEY)
        clip_norm = config.get(CLIP_NORM_KEY)
        return cls(
            server_round=None if server_round is None else int(server_round),
            wants_delta=config.get(UPDATE_KEY) == DELTA,
            dataset=None if dataset is None else str(dataset),
            run=str(config.get(RUN_KEY, "")),
            evaluates=bool(config.get(EVALUATE_KEY, False)),
            state_round=int(config.get(STATE_ROUND_KEY, 0)),
            state_keep_from=int(config.get(STATE_KEEP_KEY, 0)),
            clip_norm=None if clip_norm is None else float(clip_norm),
        )
