"""The keys of how a run is watched, ended and kept."""

from typing import Literal

from fl_app.core.run_config_keys.key import LONGEST_WAIT, Keys, key


class OperationKeys(Keys):
    """Evaluation, ends, deadlines, results, and tests of robustness."""

    monitor: Literal["auto", "central", "federated"] = key(
        "auto",
        "The evaluation that target, patience and best model look at; auto is the server's where "
        "it has a test set, else the participants'.",
        may_change=True,
        section="Evaluation, and when a run ends",
    )
    best_metric: str = key(
        "auto",
        "What patience and best model go by: loss, or a metric of the task; auto is its first.",
        may_change=True,
    )
    evaluate_with_training: bool = key(
        False,
        "Whether participants evaluate a round's model when they receive it to train on: one "
        "message less per round, and the round is reported when the next is trained.",
    )
    target: str = key(
        "",
        "Ends the run when metrics of the task are as good as this, such as auc=0.8, or better; "
        "several are separated by commas, and any of them ends it.",
        may_change=True,
    )
    target_accuracy: float = key(
        0.0, "Ends the run at this accuracy, a share; 0 is off.", ge=0, le=1, may_change=True
    )
    target_loss: float = key(
        0.0, "Ends the run at this loss, in nats; 0 is off.", ge=0, may_change=True
    )
    patience: int = key(
        0,
        "Ends the run after so many rounds without improvement; 0 is off.",
        ge=0,
        may_change=True,
    )
    min_improvement: float = key(
        0.0, "patience: a gain must be more than this.", ge=0, may_change=True
    )
    update_tolerance: float = key(
        0.0,
        "Ends the run when |w_{t+1} - w_t| / |w_t| is at most this; 0 is off.",
        ge=0,
        may_change=True,
    )
    time_budget: float = key(
        0.0,
        "Ends the run after so many seconds, at the end of a round; 0 is off.",
        ge=0,
        may_change=True,
    )

    round_deadline: float = key(
        0.0,
        "Seconds that training may take in a round, and evaluation likewise; those who are late "
        "do not count. 0 waits for everybody, as long as it takes.",
        ge=0,
        lt=LONGEST_WAIT,
        may_change=True,
        section="Deadlines and failures",
    )
    quorum_deadline: float = key(
        600.0,
        "Seconds to wait for participants to connect before the run ends with an error; 0 waits "
        "for ever.",
        ge=0,
        lt=LONGEST_WAIT,
        may_change=True,
    )
    max_failed_rounds: int = key(
        3,
        "So many rounds in a row that change nothing end the run.",
        ge=1,
        may_change=True,
    )

    checkpoint_every: int = key(
        1, "Rounds between two checkpoints.", ge=1, may_change=True, section="Results"
    )
    resume: str = key(
        "",
        "Absolute path of the run directory to continue; empty: a new run.",
        may_change=True,
    )
    tensorboard: bool = key(True, "Whether to write TensorBoard events.", may_change=True)
    output_dir: str = key(
        "",
        "Absolute path under which each run makes its directory; empty: "
        "$DELTA_FEDAVG_OUTPUT_DIR, or ~/delta-fedavg-results.",
        may_change=True,
    )

    adversary: str = key(
        "none",
        "In simulation, how some participants lie, like sign-flip(scale=1.0).",
        section="Tests of robustness",
    )
    adversary_fraction: float = key(0.0, "Share of participants that lie.", ge=0, lt=1)
