"""The studies: what is run side by side, and what each is to show.

All of them train on the first 12,000 images of MNIST, 1,200 for each of ten participants, for one
epoch a round, in bfloat16, and are tested on all 10,000 test images. That is small, so that many
runs take minutes on two cores; `scripts/study --train-examples 60000` takes all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes:
        title: What it shows.
        layout: How it is shown. `curves`: accuracy by round, and the rounds to `target`;
            `bytes`: accuracy by round, and against the bytes sent; `grid`: final accuracies, the
            runs being named `row | column`; `seeds`: mean and deviation, `case | seed`.
        common: Run-config keys that all runs share.
        runs: By name, the keys in which a run differs. The first is what others are compared with.
        target: Accuracy to look for the first round of.
    """

    title: str
    layout: Literal["curves", "bytes", "grid", "seeds"]
    common: Config
    runs: Mapping[str, Config]
    target: float | None = None

    def configs(self, override: Config) -> dict[str, dict[str, Any]]:
        """Return by name the run-config keys of each run that are not as they are by default."""
        return {
            name: dict(self.common) | dict(changes) | dict(override)
            for name, changes in self.runs.items()
        }


_FAST = {"dataset": "mnist", "local-epochs": 1, "learning-rate": 0.1, "precision": "bfloat16"}
_SKEWED = _FAST | {"partitioner": "pathological", "classes-per-participant": 2}

_AGGREGATORS = {
    "weighted mean": "weighted-mean",
    "median": "median",
    "trimmed mean": "trimmed-mean(trim_fraction=0.3)",
    "Krum": "krum(num_malicious=3)",
    "Multi-Krum": "multi-krum(num_malicious=3)",
    "geometric median": "geometric-median",
    "norm-clipped mean": "norm-clipped-mean",
}
_ATTACKS = {
    "nobody lies": {},
    "sign flip": {"adversary": "sign-flip(scale=3.0)"},
    "scaled noise": {"adversary": "scaled-noise(scale=10.0)"},
    "label flip": {"adversary": "label-flip"},
    "inflated count": {"adversary": "inflated-count(factor=100)"},
    "a little is enough": {"adversary": "a-little-is-enough"},
}
_TOP_1 = "top-k(fraction=0.01, values='int4')"
_TOP_5 = "top-k(fraction=0.05, values='int4')"

STUDIES: Mapping[str, Study] = {
    "heterogeneity": Study(
        "Softmax regression, ten participants with two digits each",
        "curves",
        _SKEWED
        | {
            "num-server-rounds": 20,
            "model": "scripts.studies.models:SoftmaxRegression",
            "learning-rate": 0.03,
        },
        {
            "plain averaging": {},
            "plain, 3 times the rate": {"learning-rate": 0.1},
            "FedProx, mu = 0.1": {"proximal-mu": 0.1},
            "SCAFFOLD": {"scaffold": True},
            "FedAvgM": {"server-optimizer": "sgd(momentum=0.9)"},
            "FedAdam": {"server-optimizer": "adam(lr=0.03)"},
            "FedYogi": {"server-optimizer": "yogi(lr=0.03)"},
        },
        target=0.85,
    ),
    "heterogeneity-cnn": Study(
        "SimpleCNN, ten participants with two digits each",
        "curves",
        _SKEWED | {"num-server-rounds": 15, "learning-rate": 0.05},
        {
            "plain averaging": {},
            "plain, twice the rate": {"learning-rate": 0.1},
            "SCAFFOLD": {"scaffold": True},
            "FedAvgM": {"server-optimizer": "sgd(momentum=0.9)"},
        },
        target=0.9,
    ),
    "compression": Study(
        "Bytes from participants, and accuracy",
        "bytes",
        _FAST | {"num-server-rounds": 8},
        {
            "float32": {},
            "4 bits": {"codec": "quantise(bits=4)"},
            "top 5 %, 4 bits": {"codec": _TOP_5},
            "top 1 %, 4 bits": {"codec": _TOP_1},
            "top 1 %, 4 bits, no feedback": {"codec": _TOP_1, "error-feedback": False},
        },
    ),
    "robustness": Study(
        "Accuracy after 3 rounds, 3 of 10 participants lying",
        "grid",
        _FAST | {"num-server-rounds": 3},
        {
            f"{aggregator} | {attack}": changes
            | {"aggregator": _AGGREGATORS[aggregator]}
            | ({"adversary-fraction": 0.3} if changes else {})
            for aggregator in _AGGREGATORS
            for attack, changes in _ATTACKS.items()
        },
    ),
    "precision": Study(
        "Accuracy after 3 rounds, by the arithmetic of local training",
        "seeds",
        _FAST | {"num-server-rounds": 3},
        {
            f"{precision} | seed {seed}": {"precision": precision, "seed": seed}
            for precision in ("float32", "bfloat16")
            for seed in range(1, 6)
        },
    ),
}
