"""What is wrong with a run config, in the user's terms."""

import difflib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from fl_app.core.errors import ConfigError

if TYPE_CHECKING:
    from fl_app.core.run_config_keys import RunConfig


def check_values(config: "RunConfig") -> None:
    """Raise a `ConfigError` if values, each in its range, make no sense together."""
    if config.min_fit_clients > config.num_participants:
        raise ConfigError(
            f"run config: min-fit-clients = {config.min_fit_clients} is more than "
            f"num-participants = {config.num_participants}; lower the one or raise the other"
        )
    if config.dataset == "own" and not config.class_names.strip():
        raise ConfigError(
            "run config: dataset = 'own' needs class-names, for instance \"cat,dog\": the "
            "names that all participants' labels are to have"
        )
    if config.dataset == "own" and config.monitor == "central":
        raise ConfigError(
            "run config: monitor = 'central' needs a test set on the server, and with "
            "dataset = 'own' it has none; set monitor = 'federated'"
        )
    if config.monitor == "federated" and config.fraction_evaluate == 0:
        raise ConfigError(
            "run config: monitor = 'federated' needs an evaluation by the participants, but "
            "fraction-evaluate = 0 turns it off; raise it, or set monitor = 'central'"
        )
    if config.secure_shares in (1, 2) or (
        config.secure_shares > 0 and config.secure_shares % 2 == 0
    ):
        raise ConfigError(
            f"run config: secure-shares = {config.secure_shares} is not allowed; it must be an "
            "odd number from 3, a participant and as many to its left as to its right, or 0"
        )
    _check_privacy(config)


def _check_privacy(config: "RunConfig") -> None:
    if config.privacy == "none":
        for key in ("noise-multiplier", "target-epsilon", "adaptive-clip-quantile"):
            if value := config.as_run_config()[key]:
                raise ConfigError(
                    f"run config: {key} = {value} does nothing with privacy = 'none'; set "
                    "privacy = 'central' or 'distributed'"
                )
        return
    if config.clip_norm == 0:
        raise ConfigError(
            f"run config: privacy = '{config.privacy}' needs a clip-norm above 0: noise can only "
            "hide deltas of a limited length. A first run with privacy = 'none' reports the "
            "update_norm of every participant, a little less than their median is a good value"
        )
    if config.noise_multiplier == 0 and config.target_epsilon == 0:
        raise ConfigError(
            f"run config: privacy = '{config.privacy}' needs noise-multiplier, or a "
            "target-epsilon to solve it from"
        )
    if 0 < config.noise_multiplier < 0.01:
        raise ConfigError(
            f"run config: noise-multiplier = {config.noise_multiplier} hides nothing, one round "
            "spends an epsilon of thousands; it must be 0.01 at least, and 1 is a common value"
        )
    if config.privacy_delta >= 1 / config.num_participants:
        raise ConfigError(
            f"run config: privacy-delta = {config.privacy_delta} is not less than 1 / "
            f"num-participants = {1 / config.num_participants:g}; it would allow to publish the "
            "update of one participant as it is"
        )


def check_known(key: str, known: Sequence[str]) -> None:
    """Raise a `ConfigError` that suggests the nearest key, unless `key` is known."""
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(sorted(known))}"
    raise ConfigError(f"run config: there is no key {key}; {hint}")


def explain(error: ValidationError, check_key: Callable[[str], None]) -> str:
    """Say in the user's terms what is wrong with a run config, a line for each fault.

    Args:
        error: What pydantic found.
        check_key: Raises a `ConfigError` for a key that is not known.
    """
    faults = []
    for fault in error.errors(include_url=False):
        key = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            try:
                check_key(key)
            except ConfigError as unknown:
                faults.append(str(unknown))
        elif fault["type"] == "missing":
            faults.append(f"run config: {key} is missing")
        else:
            allowed = fault["msg"].removeprefix("Input should be ")
            value = fault["input"]
            shown = repr(value) if isinstance(value, str) else str(value).lower()
            if isinstance(value, float) and not math.isfinite(value):
                allowed = "a finite number"
            faults.append(f"run config: {key} = {shown} is not allowed; it must be {allowed}")
    return "\n".join(faults)
