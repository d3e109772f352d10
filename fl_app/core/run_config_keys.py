"""Run config -> one small validated object; the only place that knows the keys.

Flower merges `[tool.flwr.app.config]` of pyproject.toml with `flwr run --run-config` and hands
the result, flat scalars under kebab-case keys, to the server and to every participant.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import check_known, check_values, explain

OWN_DATA = "own"
HONEST = "none"
OWN_STRATEGY = "delta-fedavg"

DatasetName = Literal["auto", "mnist", "fashion-mnist", "digits", "own"]
PartitionerName = Literal["contiguous", "iid", "dirichlet", "shards", "pathological", "linear"]


def _to_kebab(name: str) -> str:
    return name.replace("_", "-")


class RunConfig(BaseModel):
    """Every setting of a run, validated; the descriptions are the documentation.

    Build it with `from_run_config`, which reports what is wrong in the user's terms.
    """

    model_config = ConfigDict(
        alias_generator=_to_kebab, extra="forbid", strict=True, frozen=True, allow_inf_nan=False
    )

    num_server_rounds: int = Field(ge=1, description="Rounds to run.")
    num_participants: int = Field(
        ge=1, description="Participants to wait for before round 1; in simulation, all of them."
    )
    fraction_fit: float = Field(
        gt=0, le=1, description="Share of the participants that train in a round."
    )
    fraction_evaluate: float = Field(
        ge=0, le=1, description="Share that evaluates the new model; 0 turns it off."
    )
    min_fit_clients: int = Field(
        ge=1,
        description="Least number of participants to sample, and of updates to aggregate; with "
        "fewer, the round changes nothing.",
    )
    local_epochs: int = Field(
        ge=1, description="Epochs of SGD a participant runs on its own data in a round."
    )
    learning_rate: float = Field(gt=0, description="Step size of the local SGD.")
    batch_size: int = Field(ge=1, description="Examples per step; the short last batch is kept.")
    lr_schedule: str = Field(
        description="Factor on learning-rate by round: constant, exponential(decay=0.99), ..., "
        "see strategies/README.md."
    )
    momentum: float = Field(ge=0, lt=1, description="Of the local SGD; begins anew each round.")
    weight_decay: float = Field(ge=0, description="Of the local SGD.")
    proximal_mu: float = Field(
        ge=0, description="FedProx: pulls local weights back to the global ones; 0 is off."
    )
    scaffold: bool = Field(
        description="SCAFFOLD: corrects the drift of local training by control variates."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        description="Arithmetic of local training. bfloat16 is faster where the processor has it "
        "and rounds coarser; weights, updates and evaluation stay float32."
    )
    seed: int = Field(
        ge=0, lt=2**63, description="Decides initial weights, partition, sampling, batch order."
    )
    target_accuracy: float = Field(
        ge=0, le=1, description="Ends the run at this accuracy, a share; 0 is off."
    )
    target_loss: float = Field(ge=0, description="Ends the run at this loss, in nats; 0 is off.")
    patience: int = Field(
        ge=0, description="Ends the run after so many rounds without improvement; 0 is off."
    )
    min_improvement: float = Field(ge=0, description="patience: a gain must be more than this.")
    update_tolerance: float = Field(
        ge=0, description="Ends the run when |w_{t+1} - w_t| / |w_t| is at most this; 0 is off."
    )
    time_budget: float = Field(
        ge=0, description="Ends the run after so many seconds, at the end of a round; 0 is off."
    )
    strategy: str = Field(
        description="delta-fedavg takes all the parts below; or the name of a strategy of "
        "Flower's with its arguments, like FedAdam(eta=0.01)."
    )
    aggregator: str = Field(
        description="From updates to one delta; a name with options, or the import path of yours."
    )
    server_optimizer: str = Field(
        description="From delta to new weights; sgd with lr = 1 is plain federated averaging."
    )
    server_lr_schedule: str = Field(
        description="Factor on the server optimizer's learning rate by round."
    )
    codec: str = Field(description="How a delta travels; a name with options, or yours.")
    error_feedback: bool = Field(
        description="Whether what a lossy codec drops is added to the participant's next update."
    )
    clip_norm: float = Field(
        ge=0, description="Participants scale longer deltas down to this Euclidean norm; 0 is off."
    )
    privacy: Literal["none", "central", "distributed"] = Field(
        description="Differential privacy for participants, see docs/privacy.md: central, the "
        "server adds the noise; distributed, every participant adds its share."
    )
    noise_multiplier: float = Field(
        ge=0,
        description="privacy: standard deviation of the noise on a round's sum of deltas, over "
        "clip-norm; 0 is solved from target-epsilon.",
    )
    target_epsilon: float = Field(
        ge=0, description="privacy: the budget, before which the run ends; 0 is no limit."
    )
    privacy_delta: float = Field(
        gt=0, lt=1, description="privacy: the probability with which the guarantee may fail."
    )
    adaptive_clip_quantile: float = Field(
        ge=0,
        lt=1,
        description="privacy: clip-norm is only where to begin, and follows this quantile of the "
        "deltas' norms; 0 is off.",
    )
    adaptive_clip_rate: float = Field(
        gt=0, description="adaptive-clip-quantile: how fast clip-norm follows."
    )
    secure_aggregation: bool = Field(
        description="Whether deltas travel under masks, so that the server sees their mean only; "
        "needs clip-norm. See docs/secure-aggregation.md."
    )
    secure_shares: int = Field(
        ge=0,
        description="Participants, itself included, among whom each shares its keys, where a round "
        "has more: an odd number from 3, or 0 for all of them.",
    )
    secure_threshold: float = Field(
        gt=0.5,
        le=1,
        description="Share of those that must be left for a round's mean to be unmasked.",
    )
    secure_stage_deadline: float = Field(
        ge=0,
        description="Seconds for each of the three stages of secure aggregation that exchange "
        "keys; training has round-deadline. 0 waits for everybody.",
    )
    monitor: Literal["auto", "central", "federated"] = Field(
        description="The evaluation that target, patience and best model look at; auto is the "
        "server's where it has a test set, else the participants'."
    )
    best_metric: Literal["accuracy", "loss"] = Field(
        description="What patience and best model go by."
    )
    evaluate_with_training: bool = Field(
        description="Whether participants evaluate a round's model when they receive it to train "
        "on: one message less per round, and the round is reported when the next is trained."
    )
    round_deadline: float = Field(
        ge=0,
        description="Seconds that training may take in a round, and evaluation likewise; those "
        "who are late do not count. 0 waits for everybody.",
    )
    quorum_deadline: float = Field(
        ge=0,
        description="Seconds to wait for participants to connect before the run ends with an "
        "error; 0 waits for ever.",
    )
    over_selection: float = Field(
        ge=0,
        le=1,
        description="Share of participants sampled beyond those needed; the first to finish "
        "count, which favours the fast.",
    )
    max_failed_rounds: int = Field(
        ge=1, description="So many rounds in a row without enough updates end the run."
    )
    checkpoint_every: int = Field(ge=1, description="Rounds between two checkpoints.")
    resume: str = Field(
        description="Absolute path of the run directory to continue; empty: a new run."
    )
    tensorboard: bool = Field(description="Whether to write TensorBoard events.")
    model: str = Field(description="A name registered in fl_app/tasks/registry.py.")
    dataset: DatasetName = Field(
        description="auto is MNIST if it is there or can be fetched, else digits; own: every "
        "participant brings its own data, named in its node config."
    )
    class_names: str = Field(description="own: the class names agreed on, separated by commas.")
    holdout_fraction: float = Field(
        gt=0, lt=1, description="own: share held out for evaluation where no test data is named."
    )
    image_mean: float = Field(description="own: subtracted from pixels in [0, 1].")
    image_std: float = Field(gt=0, description="own: pixels are divided by this, after that.")
    data_dir: str = Field(
        description="Absolute path; empty: $DELTA_FEDAVG_DATA_DIR, or a folder in the user's cache."
    )
    partitioner: PartitionerName = Field(description="Who holds which examples.")
    dirichlet_alpha: float = Field(gt=0, description="dirichlet: smaller is more skewed.")
    shards_per_participant: int = Field(ge=1, description="shards: label-sorted shards each.")
    classes_per_participant: int = Field(ge=1, description="pathological: labels each.")
    adversary: str = Field(
        description="In simulation, how some participants lie: none, sign-flip(scale=1.0), "
        "scaled-noise, label-flip, inflated-count, a-little-is-enough, or yours."
    )
    adversary_fraction: float = Field(ge=0, lt=1, description="Share of participants that lie.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        description="auto: a GPU where the process was given one."
    )
    threads_per_client: int = Field(
        ge=0,
        description="CPU threads of a participant's training; 0: the CPUs that it was given. "
        "Results are equal to the bit for equal numbers of threads.",
    )
    output_dir: str = Field(
        description="Absolute path under which each run makes its directory; "
        "empty: $DELTA_FEDAVG_OUTPUT_DIR, or ~/delta-fedavg-results."
    )

    @classmethod
    def from_run_config(cls, run_config: Mapping[str, Any]) -> "RunConfig":
        """Validate a run config.

        Args:
            run_config: Flat scalars under kebab-case keys, as in `context.run_config`.

        Raises:
            ConfigError: If a key is unknown or missing, or a value has a wrong type or
                range. One message names every such key, the value, and what is allowed.
        """
        try:
            config = cls.model_validate(dict(run_config))
        except ValidationError as error:
            raise ConfigError(explain(error, check_key)) from None
        check_values(config)
        return config

    def as_run_config(self) -> dict[str, Any]:
        """Return the settings under their run-config keys; undoes `from_run_config`."""
        return self.model_dump(by_alias=True)


def check_key(key: str) -> None:
    """Raise a `ConfigError` that suggests the nearest key, unless `key` is one."""
    check_known(key, [_to_kebab(name) for name in RunConfig.model_fields])
