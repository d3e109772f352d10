"""What the server says with a message to train, read once and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from flwr.app import ConfigRecord, RecordDict
from flwr.common import Scalar

from fl_app.core.errors import ConfigError
from strategies.core.client_update import DELTA, UPDATE_KEY
from strategies.core.model_spec import ModelSpec
from strategies.core.state import STATE_KEEP_KEY, STATE_ROUND_KEY
from strategies.privacy.gaussian_mean import CLIP_NORM_KEY

_STATE = "participant"
_TRAINED = "latest-round-trained"


def model_told(model: ModelSpec) -> dict[str, Scalar]:
    """Return what the server says of its model with each message."""
    return {MODEL_KEY: model.sha256, FROZEN_KEY: model.frozen_sha256}


def check_same_model(model: ModelSpec, told: Mapping[str, Scalar]) -> None:
    """Look whether a participant has the model that the server has.

    Args:
        model: The participant's.
        told: The config of a message; says nothing under strategies that do not tell.

    Raises:
        ConfigError: If it has another one.
    """
    if told.get(MODEL_KEY, model.sha256) != model.sha256:
        tensors = ", ".join(f"{t.name} {list(t.shape)} {t.dtype}" for t in model.tensors)
        raise ConfigError(
            "the model here is not that of the server; both need the same code. "
            f"What travels here: {tensors}"
        )
    frozen = str(told.get(FROZEN_KEY, model.frozen_sha256))
    if frozen != model.frozen_sha256:
        raise ConfigError(
            "the frozen parameters of the model here are not those of the server, and they do not "
            f"travel: SHA-256 {model.frozen_sha256 or 'of none'} here, {frozen or 'of none'} "
            "there; both need the same files"
        )


@dataclass(frozen=True)
class FitInstruction:
    """The config of a message to train.

    Attributes:
        server_round: The round; `None` where the strategy does not tell.
        wants_delta: Whether `w_i - w_t` is asked for; Flower's own strategies expect `w_i`.
        run: The name of the run; "" where the strategy does not tell.
        evaluates: Whether to evaluate the weights received before training on them.
        state_round: The round whose memory to go on from; 0 is none.
        state_keep_from: The oldest round whose memory may still be asked for.
        clip_norm: The norm to clip the delta to, where it moves from round to round.
    """

    server_round: int | None = None
    wants_delta: bool = False
    run: str = ""
    evaluates: bool = False
    state_round: int = 0
    state_keep_from: int = 0
    clip_norm: float | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Scalar]) -> "FitInstruction":
        """Read the config that came with the message; unknown keys mean nothing."""
        server_round, clip_norm = config.get(ROUND_KEY), config.get(CLIP_NORM_KEY)
        return cls(
            server_round=None if server_round is None else int(server_round),
            wants_delta=config.get(UPDATE_KEY) == DELTA,
            run=str(config.get(RUN_KEY, "")),
            evaluates=bool(config.get(EVALUATE_KEY, False)),
            state_round=int(config.get(STATE_ROUND_KEY, 0)),
            state_keep_from=int(config.get(STATE_KEEP_KEY, 0)),
            clip_norm=None if clip_norm is None else float(clip_norm),
        )


def count_round(state: RecordDict, told: int | None) -> int:
    """Return the server's round, or, where it does not tell, the count of trainings in `state`."""
    record = state.config_records.get(_STATE, ConfigRecord())
    server_round = cast(int, record.get(_TRAINED, 0)) + 1 if told is None else told
    record[_TRAINED] = server_round
    state.config_records[_STATE] = record
    return server_round


ROUND_KEY = "server-round"
"""The round, 1-based: decides the participant's random numbers."""


DATASET_KEY = "dataset"
"""The data set that the server resolved, so that all train on the same."""


AGREEMENT_KEY = "agreement"
"""What participants agreed on before round 1; see `fl_app.tasks.agreement`."""


STATISTICS_KEY = "statistics"
"""In a message to train: to tell of the examples instead; in the answer: the names in them."""


MODEL_KEY = "model-sha256"
"""Of the names, shapes and dtypes of what travels of the server's model."""


FROZEN_KEY = "frozen-sha256"
"""Of the server's frozen parameters, which do not travel: everybody has to have the same ones."""


PARTICIPANT_KEY = "participant"
"""In what a participant answers: who it is."""


RUN_KEY = "run"
"""The name of the run: participants keep what they remember by it."""


EVALUATE_KEY = "evaluate-received"
"""Whether to evaluate the weights received before training on them."""


MEASURES_KEY = "measures"
"""In an evaluation's metrics: loss and metrics as sums; see `fl_app.core.metrics`."""


TRAIN_MEASURES_KEY = "train-measures"
"""In the fit metrics: likewise over the last local epoch, as it was trained."""


RECEIVED_MEASURES_KEY = "received-measures"


RECEIVED_EXAMPLES_KEY = "received-examples"
"""In the fit metrics: how the weights received did on the participant's own test examples."""


NUM_EXAMPLES_KEY = "num-examples"
"""In the properties, with secure aggregation: how many examples a participant trains on."""
