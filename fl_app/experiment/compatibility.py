"""What cannot be combined is refused before round 1, with the reason and what to do instead.

`python -m scripts.docgen.compatibility` writes the rules into `strategies/README.md`.
"""

import math
from itertools import chain, islice

from fl_app.core.errors import ConfigError
from fl_app.core.plugins import part
from fl_app.core.run_config import DEFAULTS, RunConfig
from fl_app.experiment.combination import facts_about
from fl_app.experiment.compatibility_rules import RULES

_ROUNDS_TRIED = 1000


def check_compatibility(config: RunConfig) -> None:
    """Refuse what cannot be combined, parts that cannot be built, and step sizes of no use.

    Raises:
        ConfigError: One message for all combinations refused: why, and what to change.
    """
    facts = facts_about(config)
    settings = config.as_run_config()
    if settings["server-optimizer"] != DEFAULTS["server-optimizer"]:  # which imports PyTorch
        part("server-optimizer", settings["server-optimizer"])
    _check_schedules(config)
    _check_proximal_term(config)
    faults = [
        f"run config: {rule.what} cannot be combined. {rule.why} Instead: {rule.instead}"
        for rule in RULES
        if rule.applies(facts)
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _check_schedules(config: RunConfig) -> None:
    """Refuse a schedule that cannot be built, or is no number from 0 on in a round to come.

    A negative factor climbs the loss, and one that is no number ends in updates that are refused,
    or in an error on every participant.

    Raises:
        ConfigError: Says which round, and what the factor is.
    """
    settings = config.as_run_config()
    for key in ("server-lr-schedule", "lr-schedule"):
        if settings[key] == DEFAULTS[key]:
            continue
        schedule = part(key, settings[key])
        last = config.num_server_rounds
        for server_round in chain(islice(range(1, last), _ROUNDS_TRIED), [last]):
            fault = _fault_of(schedule, server_round)
            if fault is not None:
                raise ConfigError(
                    f"run config: {key} = {settings[key]!r} {fault} in round {server_round}; it "
                    "must return a number that is not negative"
                )


def _fault_of(schedule: object, server_round: int) -> str | None:
    try:
        factor = schedule(server_round)  # type: ignore[operator] # a part, checked to be callable
    except Exception as error:  # whatever a schedule that is not ours may raise
        return f"fails with {type(error).__name__}: {error}"
    try:
        usable = not isinstance(factor, str | bool) and 0 <= float(factor) < math.inf
    except (TypeError, ValueError, OverflowError):
        usable = False
    return None if usable else f"returns {factor!r}"


def _check_proximal_term(config: RunConfig) -> None:
    """Refuse a proximal term that throws the weights further back than they have come.

    A step multiplies the distance to the global weights by `1 - learning_rate * mu`.

    Raises:
        ConfigError: If that is -1 or less, so that the distance does not shrink.
    """
    if config.learning_rate * config.proximal_mu >= 2:
        raise ConfigError(
            f"run config: learning-rate = {config.learning_rate:g} times proximal-mu = "
            f"{config.proximal_mu:g} is 2 or more: every step would throw the weights back beyond "
            "the global ones, further than they have come. Lower one of them; their product is to "
            "be less than 1"
        )


def compatibility_table() -> str:
    """Return the rules as a Markdown table."""
    rows = ["| cannot be combined | because | instead |", "| --- | --- | --- |"]
    rows += [f"| {rule.what} | {rule.why} | {rule.instead} |" for rule in RULES]
    return "\n".join(rows) + "\n"
