"""Settings that do nothing in a run: named at its start."""

from typing import Any

import pytest

from fl_app.core.run_config import RunConfig
from fl_app.experiment.effects import settings_without_effect
from scripts.repository import default_run_config
from tests.support.local_run import run_app


def told(changes: dict[str, Any]) -> list[str]:
    return settings_without_effect(RunConfig.from_run_config(default_run_config() | changes))


PLAIN = "does no more than a plain mean in a round of"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"aggregator": "trimmed-mean(trim_fraction=0.05)"},
            f'aggregator = "trimmed-mean(trim_fraction=0.05)" {PLAIN} 10: trim_fraction = 0.05 of '
            "10 updates cuts off none",
        ),
        (
            {"aggregator": "trimmed-mean", "fraction-fit": 0.4},  # 0.2 of 4
            f'aggregator = "trimmed-mean" {PLAIN} 4: trim_fraction = 0.2 of 4 updates cuts off '
            "none",
        ),
        (
            {"aggregator": "multi-krum(num_malicious=0)"},
            f'aggregator = "multi-krum(num_malicious=0)" {PLAIN} 10: it selects 10 of 10 updates, '
            "and so leaves out none",
        ),
        (
            {"aggregator": "multi-krum(num_selected=10)"},
            f'aggregator = "multi-krum(num_selected=10)" {PLAIN} 10: it selects 10 of 10 updates, '
            "and so leaves out none",
        ),
        (
            {"aggregator": "median", "num-participants": 2},
            f'aggregator = "median" {PLAIN} 2: of two updates it is their mean',
        ),
        (
            {"aggregator": "geometric-median", "fraction-fit": 0.2},
            f'aggregator = "geometric-median" {PLAIN} 2: of two updates it is their mean',
        ),
        (
            {"aggregator": "norm-clipped-mean", "num-participants": 1},
            f'aggregator = "norm-clipped-mean" {PLAIN} 1: one update is all there is to aggregate',
        ),
        (
            {"strategy": "FedTrimmedAvg(beta=0.05)"},
            f'strategy = "FedTrimmedAvg(beta=0.05)" {PLAIN} 10: beta = 0.05 of 10 replies cuts off '
            "none",
        ),
        (
            {"strategy": "FedMedian", "num-participants": 2},
            f'strategy = "FedMedian" {PLAIN} 2: of two replies it is their mean',
        ),
        (
            {"strategy": "Krum(num_clients_to_keep=10)"},
            f'strategy = "Krum(num_clients_to_keep=10)" {PLAIN} 10: it keeps 10 of 10 replies',
        ),
        (
            {"over-selection": 0.5},
            "over-selection = 0.5 has no effect, all 10 participants are sampled already",
        ),
        (
            {"dirichlet-alpha": 0.1},
            'dirichlet-alpha = 0.1 has no effect, it needs partitioner = "dirichlet"',
        ),
        (
            {"shards-per-participant": 3, "partitioner": "pathological"},
            'shards-per-participant = 3 has no effect, it needs partitioner = "shards"',
        ),
        (
            {"partitioner": "iid", "dataset": "own", "class-names": "a,b"},
            "partitioner = iid has no effect, it needs a data set that is divided",
        ),
        (
            {"task": "breast-cancer", "dataset": "auto", "augmentation": "flip"},
            "augmentation = flip has no effect, it needs a task that takes it, as "
            "image-classification does",
        ),
        (
            {"image-mean": 0.2},
            'image-mean = 0.2 has no effect, it needs dataset = "own"',
        ),
        (
            {"secure-shares": 5},
            "secure-shares = 5 has no effect, it needs secure-aggregation = true",
        ),
        ({"min-improvement": 0.1}, "min-improvement = 0.1 has no effect, it needs patience"),
    ],
)
def test_what_does_nothing_is_named_with_the_reason(changes, what):
    assert told(changes) == [what]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aggregator": "trimmed-mean(trim_fraction=0.1)"},  # one of ten, at each end
        {"aggregator": "trimmed-mean", "fraction-fit": 0.5},
        {"aggregator": "multi-krum"},
        {"aggregator": "krum(num_malicious=0)"},
        {"aggregator": "median", "num-participants": 3},
        {"aggregator": "geometric-median", "num-participants": 3},
        {"strategy": "FedTrimmedAvg"},
        {"strategy": "Krum(num_clients_to_keep=9)"},
        {"over-selection": 0.5, "fraction-fit": 0.5},
        {"dirichlet-alpha": 0.1, "partitioner": "dirichlet"},
        {"dataset": "own", "class-names": "a,b", "image-std": 0.3},
    ],
    ids=str,
)
def test_what_does_something_is_not(changes):
    assert told(changes) == []


def test_a_run_says_so_at_its_start(config, flower_log):
    run_app(config | {"aggregator": "trimmed-mean", "num-server-rounds": 1})

    (line,) = [r for r in flower_log.records if "does no more than a plain mean" in r.getMessage()]
    assert line.levelname == "WARNING"
