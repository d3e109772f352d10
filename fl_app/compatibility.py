"""What cannot be combined, why, and what to do instead: the one place that knows.

Checked before round 1. `python -m scripts.compatibility_table` writes it into
`strategies/README.md`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fl_app.config import HONEST, OWN_DATA, OWN_STRATEGY, RunConfig
from fl_app.errors import ConfigError
from fl_app.settings import part
from strategies.registry import known_name

_AVERAGES = ("weighted-mean",)
_STATELESS_OF_FLOWER = ("FedAvg", "FedMedian", "FedTrimmedAvg", "Krum", "Bulyan")


@dataclass(frozen=True)
class Facts:
    """A run config with what its parts say of themselves."""

    config: RunConfig
    codec: Any
    aggregator: Any

    @property
    def own_strategy(self) -> bool:
        """Whether the strategy is this project's, into which the parts plug."""
        return self.config.strategy == OWN_STRATEGY

    @property
    def averages(self) -> bool:
        """Whether the aggregator is the plain weighted mean."""
        return known_name("aggregator", self.config.aggregator) in _AVERAGES

    @property
    def lossy(self) -> bool:
        """Whether the codec drops anything."""
        return not getattr(self.codec, "lossless", False)

    def changed(self) -> list[str]:
        """Return the keys of parts that are not as they are by default."""
        run = self.config
        parts = {
            "aggregator": not self.averages,
            "server-optimizer": run.server_optimizer != "sgd",
            "server-lr-schedule": run.server_lr_schedule != "constant",
            "codec": run.codec != "identity",
            "scaffold": run.scaffold,
            "over-selection": run.over_selection > 0,
        }
        return [key for key, differs in parts.items() if differs]


@dataclass(frozen=True)
class Rule:
    """One combination that is refused.

    Attributes:
        what: The combination, in run-config keys.
        why: The reason, as a sentence.
        instead: What to change.
        applies: Whether a run config combines so.
    """

    what: str
    why: str
    instead: str
    applies: Callable[[Facts], bool]


RULES: tuple[Rule, ...] = (
    Rule(
        "a strategy of Flower's, and a part of delta-fedavg",
        "Flower's strategies aggregate weights in their own way, and the parts would be ignored.",
        'set strategy = "delta-fedavg", or leave aggregator, server-optimizer, '
        "server-lr-schedule, codec, scaffold and over-selection as they are",
        lambda facts: not facts.own_strategy and bool(facts.changed()),
    ),
    Rule(
        "a strategy of Flower's that remembers, and resume",
        "Flower's strategies cannot save what they remember between rounds, so the run would not "
        "go on as it was.",
        "use server-optimizer adam, adagrad, yogi or sgd(momentum=...), whose state is saved",
        lambda facts: (
            not facts.own_strategy
            and bool(facts.config.resume)
            and known_name("strategy", facts.config.strategy) not in _STATELESS_OF_FLOWER
        ),
    ),
    Rule(
        "scaffold, and an aggregator that is no weighted mean",
        "The server's control variate is a plain average over participants: whom a robust "
        "aggregator keeps out of the weights would still move it, and FedNova counts steps anew.",
        'set aggregator = "weighted-mean", or scaffold = false',
        lambda facts: facts.config.scaffold and not facts.averages,
    ),
    Rule(
        "scaffold, and a lossy codec",
        "The server works out a participant's control variate from the delta that it decodes, "
        "the participant from the one that it sent: they would drift apart.",
        'set codec = "identity", or scaffold = false',
        lambda facts: facts.config.scaffold and facts.lossy,
    ),
    Rule(
        "scaffold, and momentum or proximal-mu",
        "Option II of SCAFFOLD takes delta / (steps * learning rate) for the mean gradient, which "
        "it is in plain SGD only.",
        "set momentum = 0.0 and proximal-mu = 0.0, or scaffold = false",
        lambda facts: (
            facts.config.scaffold and (facts.config.momentum > 0 or facts.config.proximal_mu > 0)
        ),
    ),
    Rule(
        "adversary, and participants with data of their own",
        "Adversaries are for tests in simulation, where participants are known by partition id.",
        'set adversary = "none"',
        lambda facts: facts.config.adversary != HONEST and facts.config.dataset == OWN_DATA,
    ),
    Rule(
        "adversary, and scaffold",
        "What an adversary lies about would have to include its control variate, which no attack "
        "here does.",
        'set adversary = "none", or scaffold = false',
        lambda facts: facts.config.adversary != HONEST and facts.config.scaffold,
    ),
)


def check_compatibility(config: RunConfig) -> None:
    """Refuse what cannot be combined, and parts that cannot be built.

    Raises:
        ConfigError: One message for all combinations refused: why, and what to change.
    """
    facts = Facts(
        config,
        codec=part("codec", config.codec),
        aggregator=part("aggregator", config.aggregator),
    )
    for kind, text in (
        ("server-optimizer", config.server_optimizer),
        ("server-lr-schedule", config.server_lr_schedule),
        ("lr-schedule", config.lr_schedule),
    ):
        part(kind, text)
    if config.adversary != HONEST:
        part("adversary", config.adversary)
    faults = [
        f"run config: {rule.what} cannot be combined. {rule.why} Instead: {rule.instead}"
        for rule in RULES
        if rule.applies(facts)
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def compatibility_table() -> str:
    """Return the rules as a Markdown table."""
    rows = ["| cannot be combined | because | instead |", "| --- | --- | --- |"]
    rows += [f"| {rule.what} | {rule.why} | {rule.instead} |" for rule in RULES]
    return "\n".join(rows) + "\n"
