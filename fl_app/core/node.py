"""A node of the federation: its config, and the name of the participant on it."""

import difflib
from collections.abc import Mapping
from typing import Any

from fl_app.core.errors import ConfigError
from fl_app.core.plugins import OWN_DATA
from fl_app.core.run_config import RunConfig

NodeConfig = Mapping[str, Any]

_KEYS = ("name", "data", "test-data", "state-dir", "data-cache", "partition-id", "num-partitions")


def participant_name(node_config: NodeConfig, config: RunConfig) -> str:
    """Return who a node is: the name it declares, or else its partition id.

    Raises:
        ConfigError: If the node config says neither, or a partition that is none, or has a key
            that is written wrongly.
    """
    _refuse_slips(node_config)
    name = node_config.get("name", "")
    if not isinstance(name, str):
        raise ConfigError(
            f"node config: name = {_as_toml(name)} must be a text: write it in double quotes, "
            f'name="{_as_toml(name)}"'
        )
    if name.strip():
        return name.strip()
    if config.dataset == OWN_DATA:
        raise ConfigError(
            "node config: name is missing; a participant with its own data is started with "
            '--node-config \'name="<who>" data="<absolute path>"\''
        )
    return str(partition_id(node_config, config))


def _refuse_slips(node_config: NodeConfig) -> None:
    """Refuse a key that is nearly one of these; others may be there for another app."""
    absent = [key for key in _KEYS if key not in node_config]
    for key in sorted(set(node_config) - set(_KEYS)):
        written = key.casefold().replace("_", "-")
        if near := difflib.get_close_matches(written, absent, n=1, cutoff=0.85):
            raise ConfigError(f"node config: there is no key {key}; did you mean {near[0]}?")


def partition_id(node_config: NodeConfig, config: RunConfig) -> int:
    """Read the partition id from the node config, checked against the run config."""
    if "partition-id" not in node_config:
        raise ConfigError(
            "node config: partition-id is missing; start the SuperNode with "
            "--node-config 'partition-id=<0, 1, ...> num-partitions=<participants>'"
        )
    number, num_partitions = node_config["partition-id"], node_config.get("num-partitions")
    if num_partitions != config.num_participants:
        raise ConfigError(
            f"there are {num_partitions} participants, but num-participants = "
            f"{config.num_participants} in the run config; make the two equal"
        )
    if type(number) is not int or not 0 <= number < config.num_participants:
        raise ConfigError(
            f"node config: partition-id = {number!r} is not allowed; "
            f"it must be a whole number from 0 to {config.num_participants - 1}"
        )
    return number


def path_in(node_config: NodeConfig, key: str) -> str:
    """Read a path from the node config; "" where there is none.

    Raises:
        ConfigError: If it is no text.
    """
    value = node_config.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(
            f"node config: {key} = {_as_toml(value)} must be a path: write it in double quotes"
        )
    return value.strip()


def _as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
