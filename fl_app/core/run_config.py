"""Run config -> one small validated object, and what is wrong with it in the user's terms.

Flower merges `[tool.flwr.app.config]` of pyproject.toml with `flwr run --run-config` and hands
the result, flat scalars under kebab-case keys, to the server and to every participant. The keys
are described in `fl_app.core.run_config_keys`.
"""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from fl_app.core.errors import ConfigError
from fl_app.core.plugins import OWN_DATA
from fl_app.core.run_config_keys.aggregation import AggregationKeys
from fl_app.core.run_config_keys.key import Value, key_of, said_of
from fl_app.core.run_config_keys.operation import OperationKeys
from fl_app.core.run_config_keys.training import TrainingKeys
from strategies.part_kinds import KINDS
from strategies.registry import check_name, keys_taken_by

_INT64_LIMIT = 2**63  # Flower carries whole numbers in 64 bits


# Keys are listed in this order from the last base to the first, as pydantic has it.
class RunConfig(OperationKeys, AggregationKeys, TrainingKeys):
    """Every setting of a run, validated.

    Build it with `from_run_config`, which reports what is wrong in the user's terms.
    """

    @classmethod
    def from_run_config(cls, run_config: Mapping[str, Any]) -> "RunConfig":
        """Validate a run config.

        Args:
            run_config: Flat scalars under kebab-case keys, as in `context.run_config`.

        Raises:
            ConfigError: If a key is unknown or missing, a value has a wrong type or range, or
                names no part. One message names every such key, the value, and what is allowed.
        """
        try:
            config = cls.model_validate(dict(run_config))
        except ValidationError as error:
            faults = map(_explain, error.errors(include_url=False))
            raise ConfigError("\n".join(faults)) from None
        _check_combinations(config)
        return config

    def as_run_config(self) -> dict[str, Any]:
        """Return the settings under their run-config keys; undoes `from_run_config`."""
        return self.model_dump(by_alias=True)

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_carried(cls, value: Value, info: ValidationInfo) -> Value:
        if isinstance(value, int) and abs(value) >= _INT64_LIMIT:
            key = key_of(info.field_name or "")
            raise ValueError(f"{key} = {value} is not allowed; it must be less than {_INT64_LIMIT}")
        return value

    @field_validator("*")
    @classmethod
    def _names_a_part(cls, value: Value, info: ValidationInfo) -> Value:
        key = key_of(info.field_name or "")
        if key in KINDS:
            check_name(key, str(value))
        return value


DEFAULTS: Mapping[str, Value] = {
    str(field.alias): said_of(field, "default") for field in RunConfig.model_fields.values()
}
"""Every key with its default, in the order in which they are listed."""

MAY_CHANGE = frozenset(
    str(field.alias) for field in RunConfig.model_fields.values() if said_of(field, "may-change")
)
"""Keys that may differ on resume."""


def check_key(key: str) -> None:
    """Raise a `ConfigError` that suggests the nearest key, unless `key` is one."""
    if key in DEFAULTS:
        return
    near = difflib.get_close_matches(key, DEFAULTS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(sorted(DEFAULTS))}"
    raise ConfigError(f"run config: there is no key {key}; {hint}")


def _explain(fault: ErrorDetails) -> str:
    """Say in the user's terms what is wrong with one key."""
    key, value = str(fault["loc"][0]), fault["input"]
    if fault["type"] == "extra_forbidden":
        try:
            check_key(key)
        except ConfigError as unknown:
            return str(unknown)
    if fault["type"] == "missing":
        return f"run config: {key} is missing"
    if fault["type"] == "value_error":
        return f"run config: {fault['ctx']['error']}"
    allowed = fault["msg"].removeprefix("Input should be ")
    shown = repr(value) if isinstance(value, str) else str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        allowed = "a finite number"
    return f"run config: {key} = {shown} is not allowed; it must be {allowed}"


def _check_combinations(config: RunConfig) -> None:
    """Raise a `ConfigError` if values, each in its range, make no sense together."""
    if config.min_fit_clients > config.num_participants:
        raise ConfigError(
            f"run config: min-fit-clients = {config.min_fit_clients} is more than "
            f"num-participants = {config.num_participants}; lower the one or raise the other"
        )
    named = "class-names" in keys_taken_by("task", config.task)
    if config.dataset == OWN_DATA and named and not config.class_names.strip():
        raise ConfigError(
            "run config: dataset = 'own' needs class-names, for instance \"cat,dog\": the "
            "names that all participants' labels are to have"
        )
    if config.dataset == OWN_DATA and config.monitor == "central":
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


def _check_privacy(config: RunConfig) -> None:
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
