"""What cannot be combined is refused before round 1, with the reason and what to do instead.

`python -m scripts.docgen.compatibility` writes the rules into `strategies/README.md`.
"""

from fl_app.core.errors import ConfigError
from fl_app.core.plugins import part
from fl_app.core.run_config import DEFAULTS, RunConfig
from fl_app.experiment.combination import facts_about
from fl_app.experiment.compatibility_rules import RULES


def check_compatibility(config: RunConfig) -> None:
    """Refuse what cannot be combined, and parts that cannot be built.

    Raises:
        ConfigError: One message for all combinations refused: why, and what to change.
    """
    facts = facts_about(config)
    settings = config.as_run_config()
    for key in ("server-optimizer", "server-lr-schedule", "lr-schedule"):
        if settings[key] != DEFAULTS[key]:  # those can be built, and one imports PyTorch
            part(key, settings[key])
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
