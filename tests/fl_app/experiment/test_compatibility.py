from typing import Any

import pytest
from flwr.server.strategy import (
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    Strategy,
)

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.experiment.combination import FLOWER_ARGUMENTS
from fl_app.experiment.compatibility import check_compatibility, compatibility_table
from fl_app.experiment.compatibility_rules import RULES
from fl_app.experiment.strategy import build_strategy
from fl_app.tasks.registry import build_model, task_of
from fl_app.tasks.server_data import ServerData
from scripts.repository import default_run_config
from strategies.part_kinds import KINDS


def clipped_by_the_server(**fedavg: Any) -> Strategy:
    return DifferentialPrivacyServerSideFixedClipping(FedAvg(**fedavg), 0.1, 1.0, 3)


def clipped_by_clients(**fedavg: Any) -> Strategy:
    return DifferentialPrivacyClientSideFixedClipping(FedAvg(**fedavg), 0.1, 1.0, 3)


def wrapped_twice(**fedavg: Any) -> Strategy:
    return DifferentialPrivacyServerSideFixedClipping(clipped_by_clients(**fedavg), 0.1, 1.0, 3)


PRIVATE: dict[str, Any] = {"privacy": "central", "clip-norm": 1.0, "noise-multiplier": 1.0}
DISTRIBUTED: dict[str, Any] = PRIVATE | {"privacy": "distributed"}
SECURE: dict[str, Any] = {"secure-aggregation": True, "clip-norm": 1.0}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("a strategy of Flower's, and a part", {"strategy": "FedAvg", "codec": "float16"}),
    ("a strategy of Flower's, and a part", {"strategy": "FedAdam", "aggregator": "fednova"}),
    ("a strategy of Flower's, and a part", {"strategy": "FedAvg", "over-selection": 0.5}),
    ("a strategy of Flower's that remembers", {"strategy": "FedAdam", "resume": "/a/run"}),
    (
        "a strategy of Flower's, and work",
        {"strategy": "flwr.server.strategy:FedProx(proximal_mu=0.1)"},
    ),
    ("a strategy of Flower's, and work", {"strategy": f"{__name__}:clipped_by_clients"}),
    ("a strategy of Flower's, and work", {"strategy": f"{__name__}:wrapped_twice"}),
    ("scaffold, and an aggregator", {"scaffold": True, "aggregator": "fednova"}),
    ("scaffold, and a lossy codec", {"scaffold": True, "codec": "top-k"}),
    ("scaffold or fednova, and a local-optimizer", {"scaffold": True, "local-optimizer": "adamw"}),
    ("scaffold, and momentum", {"scaffold": True, "gradient-clip": 1.0}),
    ("scaffold, and momentum", {"scaffold": True, "momentum": 0.9}),
    ("scaffold, and momentum", {"scaffold": True, "proximal-mu": 0.1}),
    ("a strategy of Flower's, and a part", {"strategy": "FedAvg", "clip-norm": 1.0}),
    ("a strategy of Flower's, and a part", PRIVATE | {"strategy": "FedAvg"}),
    ("scaffold, and clip-norm", {"scaffold": True, "clip-norm": 1.0}),
    ("privacy, and scaffold", PRIVATE | {"scaffold": True}),
    ("privacy, and an aggregator", PRIVATE | {"aggregator": "median"}),
    ("privacy, and an aggregator", DISTRIBUTED | {"aggregator": "fednova"}),
    ("privacy, and evaluate-with-training", PRIVATE | {"evaluate-with-training": True}),
    ("privacy distributed, and a lossy codec", DISTRIBUTED | {"codec": "quantise"}),
    ("privacy central, and error-feedback", PRIVATE | {"codec": "top-k"}),
    ("privacy central, and error-feedback", PRIVATE | {"codec": "quantise"}),
    (
        "adaptive-clip-quantile, and privacy distributed",
        DISTRIBUTED | {"adaptive-clip-quantile": 0.5},
    ),
    (
        "adaptive-clip-quantile, and a lossy codec",
        PRIVATE | {"adaptive-clip-quantile": 0.5, "codec": "top-k"},
    ),
    ("adversary, and clip-norm", {"adversary": "sign-flip", "clip-norm": 1.0}),
    ("adversary, and clip-norm", DISTRIBUTED | {"adversary": "sign-flip"}),
    (
        "adversary, and participants with data of their own",
        {"adversary": "sign-flip", "dataset": "own", "class-names": "a,b"},
    ),
    ("adversary, and scaffold", {"adversary": "sign-flip", "scaffold": True}),
    ("secure-aggregation, and no clip-norm", {"secure-aggregation": True}),
    ("secure-aggregation, and fewer than three", SECURE | {"num-participants": 2}),
    ("secure-aggregation, and fewer than three", SECURE | {"fraction-fit": 0.2}),
    ("secure-aggregation, and an aggregator", SECURE | {"aggregator": "median"}),
    ("secure-aggregation, and an aggregator", SECURE | {"aggregator": "fednova"}),
    ("secure-aggregation, and a codec", SECURE | {"codec": "float16"}),
    (
        "secure-aggregation, and adaptive-clip-quantile",
        PRIVATE | SECURE | {"adaptive-clip-quantile": 0.5},
    ),
    ("secure-aggregation, and scaffold", SECURE | {"scaffold": True}),
    ("secure-aggregation, and over-selection", SECURE | {"over-selection": 0.2}),
    ("secure-aggregation, and a strategy of Flower's", SECURE | {"strategy": "FedAvg"}),
    ("secure-aggregation, and adversary", SECURE | {"adversary": "sign-flip"}),
    ("adversary, and an adversary-fraction", {"adversary": "sign-flip"}),
    (
        "adversary, and an adversary-fraction",  # 0.05 * 10 is rounded to 0
        {"adversary": "label-flip", "adversary-fraction": 0.05},
    ),
    ("adversary-fraction, and no adversary", {"adversary-fraction": 0.3}),
    (
        "adversary a-little-is-enough without z",  # 1 of 5: half of the honest are around it
        {
            "adversary": "a-little-is-enough",
            "adversary-fraction": 0.2,
            "num-participants": 5,
        },
    ),
    (
        "adversary a-little-is-enough without z",  # a majority lies
        {"adversary": "a-little-is-enough", "adversary-fraction": 0.6},
    ),
    ("an aggregator, and fewer", {"strategy": "Bulyan(num_malicious_clients=2)"}),  # 11 of 10
    (
        "an aggregator, and fewer",  # 7 of 4
        {"strategy": "Bulyan(num_malicious_clients=1)", "fraction-fit": 0.4},
    ),
    ("an aggregator, and fewer", {"strategy": "Krum(num_malicious_clients=4)"}),  # 11 of 10
    (
        "an aggregator, and fewer",
        {"strategy": "Krum(num_malicious_clients=1, num_clients_to_keep=11)"},
    ),
    ("an aggregator, and fewer", {"aggregator": "krum(num_malicious=4)"}),  # 11 of 10
    ("an aggregator, and fewer", {"aggregator": "krum(num_malicious=1)", "fraction-fit": 0.4}),
]
ALLOWED: list[dict[str, Any]] = [
    {},
    {"strategy": "FedAdam(eta=0.1)"},
    {"strategy": f"{__name__}:clipped_by_the_server"},
    {"aggregator": "multi-krum(num_malicious=3)"},  # 9 of 10
    {"aggregator": "krum(num_malicious=1)", "fraction-fit": 0.4, "min-fit-clients": 5},
    {"strategy": "Krum", "resume": "/a/run"},
    {"scaffold": True, "server-optimizer": "adam", "weight-decay": 1e-4},
    {"aggregator": "fednova", "momentum": 0.9, "proximal-mu": 0.1, "codec": "top-k"},
    {"clip-norm": 1.0, "aggregator": "median", "codec": "top-k", "strategy": "delta-fedavg"},
    PRIVATE | {"codec": "top-k", "error-feedback": False, "over-selection": 0.5},
    PRIVATE | {"server-optimizer": "adam", "error-feedback": True},
    PRIVATE | {"adaptive-clip-quantile": 0.5, "proximal-mu": 0.1, "momentum": 0.9},
    PRIVATE | {"adversary": "scaled-noise", "adversary-fraction": 0.3},
    DISTRIBUTED | {"server-optimizer": "sgd(momentum=0.9)", "over-selection": 0.5},
    PRIVATE | SECURE,
    DISTRIBUTED | SECURE,
    SECURE | {"server-optimizer": "adam", "momentum": 0.9, "proximal-mu": 0.1},
    SECURE | {"fraction-fit": 0.3, "evaluate-with-training": True, "resume": "/a/run"},
    {"strategy": "Bulyan(num_malicious_clients=1)"},
    {"strategy": "Krum(num_malicious_clients=3)"},
    {"adversary": "a-little-is-enough(z=1.0)", "adversary-fraction": 0.6},
    {"adversary": "a-little-is-enough", "adversary-fraction": 0.3},
    {"adversary": "sign-flip", "adversary-fraction": 0.06},
    {"adversary": "label-flip", "adversary-fraction": 0.3, "codec": "quantise(bits=4)"},
]


def config(changes: dict[str, Any]) -> RunConfig:
    return RunConfig.from_run_config(default_run_config() | changes)


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        check_compatibility(config(changes))
    return str(caught.value)


@pytest.mark.parametrize(("what", "changes"), REFUSED)
def test_what_cannot_be_combined_is_refused_with_the_reason_and_what_to_change(what, changes):
    (rule,) = [rule for rule in RULES if rule.what.startswith(what)]

    message = refusal(changes)

    assert f"run config: {rule.what} cannot be combined. {rule.why}" in message
    assert rule.instead in message


def test_every_rule_is_shown_to_refuse_something():
    assert all(any(rule.what.startswith(what) for what, _ in REFUSED) for rule in RULES)


@pytest.mark.parametrize("changes", ALLOWED)
def test_what_can_be_combined_is_let_through(changes):
    check_compatibility(config(changes))


def test_all_that_is_wrong_is_said_at_once():
    message = refusal({"scaffold": True, "aggregator": "fednova", "codec": "top-k"})

    assert len(message.splitlines()) == 2


@pytest.mark.parametrize(
    "key",
    ["aggregator", "server-optimizer", "server-lr-schedule", "lr-schedule", "codec", "adversary"],
)
def test_a_part_that_does_not_exist_is_refused_before_round_1(key):
    assert f'run config: {key} = "nonsense" is not known' in refusal({key: "nonsense"})


@pytest.mark.parametrize(
    "strategy",
    ["FedAvg(fraction_fitt=0.5)", "FedAvg(fraction_fit=0.5)", "FedAdam(initial_parameters=1)"],
)
def test_arguments_that_a_strategy_does_not_take_are_refused_before_round_1(strategy):
    assert refusal({"strategy": strategy}).startswith('run config: strategy = "Fed')


def test_what_is_tried_before_a_run_is_given_what_the_run_gives(monkeypatch):
    """A key that only one of the two sets would let an option through, or refuse it, too late."""
    given: list[set[str]] = []

    class Recording(FedAvg):
        def __init__(self, **arguments: Any) -> None:
            given.append(set(arguments))
            super().__init__(**arguments)

    monkeypatch.setitem(KINDS["strategy"].names, "recording", Recording)
    settings = config({"strategy": "recording"})
    check_compatibility(settings)
    model = build_model(settings.model, settings.seed)
    build_strategy(settings, model, ServerData("digits", task_of(settings)), "run")

    assert given == [set(FLOWER_ARGUMENTS)] * 2


def test_the_table_has_every_rule():
    table = compatibility_table()

    assert all(f"| {rule.what} | {rule.why} | {rule.instead} |" in table for rule in RULES)
