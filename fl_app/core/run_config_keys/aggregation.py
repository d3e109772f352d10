"""The keys of how updates travel and become new weights."""

from typing import Literal

from fl_app.core.run_config_keys.key import LONGEST_WAIT, Keys, key


class AggregationKeys(Keys):
    """Parts of the pipeline, and what protects an update."""

    strategy: str = key(
        "delta-fedavg",
        "delta-fedavg takes all the parts below; or the name of a strategy of Flower's with its "
        "arguments, like FedAdam(eta=0.01).",
        section="Aggregation",
    )
    aggregator: str = key(
        "weighted-mean",
        "From updates to one delta.",
    )
    server_optimizer: str = key(
        "sgd", "From delta to new weights; sgd with lr = 1 is plain federated averaging."
    )
    server_lr_schedule: str = key(
        "constant", "Factor on the server optimizer's learning rate by round."
    )
    codec: str = key("identity", "How a delta travels, like top-k(fraction=0.01).")
    error_feedback: bool = key(
        True, "Whether what a lossy codec drops is added to the participant's next update."
    )

    clip_norm: float = key(
        0.0,
        "Participants scale longer deltas down to this Euclidean norm; 0 is off.",
        ge=0,
        section="Privacy",
    )
    privacy: Literal["none", "central", "distributed"] = key(
        "none",
        "Differential privacy for participants, see docs/privacy.md: central, the server adds the "
        "noise; distributed, every participant adds its share.",
    )
    noise_multiplier: float = key(
        0.0,
        "privacy: standard deviation of the noise on a round's sum of deltas, over clip-norm; 0 "
        "is solved from target-epsilon.",
        ge=0,
    )
    target_epsilon: float = key(
        0.0, "privacy: the budget, before which the run ends; 0 is no limit.", ge=0
    )
    privacy_delta: float = key(
        1e-5, "privacy: the probability with which the guarantee may fail.", gt=0, lt=1
    )
    adaptive_clip_quantile: float = key(
        0.0,
        "privacy: clip-norm is only where to begin, and follows this quantile of the deltas' "
        "norms; 0 is off.",
        ge=0,
        lt=1,
    )
    adaptive_clip_rate: float = key(
        0.2, "adaptive-clip-quantile: how fast clip-norm follows.", gt=0
    )

    secure_aggregation: bool = key(
        False,
        "Whether deltas travel under masks, so that the server sees their mean only; needs "
        "clip-norm. See docs/secure-aggregation.md.",
        section="Secure aggregation",
    )
    secure_shares: int = key(
        21,
        "Participants, itself included, among whom each shares its keys, where a round has more: "
        "an odd number from 3, or 0 for all of them.",
        ge=0,
    )
    secure_threshold: float = key(
        0.6, "Share of those that must be left for a round's mean to be unmasked.", gt=0.5, le=1
    )
    secure_stage_deadline: float = key(
        120.0,
        "Seconds for each of the three stages of secure aggregation that exchange keys; training "
        "has round-deadline. 0 waits for everybody.",
        ge=0,
        lt=LONGEST_WAIT,
        may_change=True,
    )
