"""A participant's own examples: a part of a common set, or data that only it has."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_app.config import OWN_DATA, RunConfig
from fl_app.data import load_dataset, resolve_dataset
from fl_app.errors import ConfigError
from fl_app.own_data import LocalData, OwnDataSpec, load_own_data
from fl_app.partition import PartitionSpec, train_and_test_indices
from fl_app.paths import absolute_path, resolve_data_dir
from fl_app.settings import class_names, image_shape, partition_spec

NodeConfig = Mapping[str, Any]


def participant_name(node_config: NodeConfig, config: RunConfig) -> str:
    """Return who a node is: the name it declares, or else its partition id.

    Raises:
        ConfigError: If the node config says neither, or a partition that is none.
    """
    name = node_config.get("name")
    if isinstance(name, str) and name.strip():
        return name.strip()
    if config.dataset == OWN_DATA:
        raise ConfigError(
            "node config: name is missing; a participant with its own data is started with "
            '--node-config \'name="<who>" data="<absolute path>"\''
        )
    return str(_partition_id(node_config, config))


def local_data(node_config: NodeConfig, config: RunConfig, dataset: str | None) -> LocalData:
    """Load a participant's examples; once per process.

    Args:
        node_config: Says which part, or where its own data lies.
        config: The run config.
        dataset: The set that the server resolved; `None` resolves it here.

    Raises:
        UserError: If the data or the node config has to be put right.
    """
    if config.dataset == OWN_DATA:
        return _own_data(_own_data_spec(node_config, config))
    data_dir = resolve_data_dir(config.data_dir)
    name = dataset or resolve_dataset(config.dataset, data_dir)
    return _part(name, data_dir, partition_spec(config), _partition_id(node_config, config))


def _partition_id(node_config: NodeConfig, config: RunConfig) -> int:
    """Read the partition id from the node config, checked against the run config."""
    if "partition-id" not in node_config:
        raise ConfigError(
            "node config: partition-id is missing; start the SuperNode with "
            "--node-config 'partition-id=<0, 1, ...> num-partitions=<participants>'"
        )
    partition_id, num_partitions = node_config["partition-id"], node_config.get("num-partitions")
    if num_partitions != config.num_participants:
        raise ConfigError(
            f"there are {num_partitions} participants, but num-participants = "
            f"{config.num_participants} in the run config; make the two equal"
        )
    if type(partition_id) is not int or not 0 <= partition_id < config.num_participants:
        raise ConfigError(
            f"node config: partition-id = {partition_id!r} is not allowed; "
            f"it must be a whole number from 0 to {config.num_participants - 1}"
        )
    return partition_id


def _own_data_spec(node_config: NodeConfig, config: RunConfig) -> OwnDataSpec:
    data, test_data = node_config.get("data"), node_config.get("test-data")
    if not data:
        raise ConfigError(
            "node config: data is missing; a participant with its own data is started with "
            '--node-config \'name="<who>" data="<absolute path>"\''
        )
    return OwnDataSpec(
        data=absolute_path("node config: data", str(data)),
        test_data=absolute_path("node config: test-data", str(test_data)) if test_data else None,
        class_names=class_names(config),
        image_shape=image_shape(config),
        mean=config.image_mean,
        std=config.image_std,
        holdout_fraction=config.holdout_fraction,
        seed=config.seed,
        participant=participant_name(node_config, config),
    )


@lru_cache(maxsize=4)
def _own_data(spec: OwnDataSpec) -> LocalData:
    return load_own_data(spec)


@lru_cache(maxsize=4)
def _indices(
    dataset: str, data_dir: Path, spec: PartitionSpec
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Who holds which examples; computed once per process."""
    loaded = load_dataset(dataset, data_dir)
    return train_and_test_indices(loaded.train.labels.numpy(), loaded.test.labels.numpy(), spec)


def _part(dataset: str, data_dir: Path, spec: PartitionSpec, partition_id: int) -> LocalData:
    train, test = _indices(dataset, data_dir, spec)
    loaded = load_dataset(dataset, data_dir)
    return LocalData(
        train=loaded.train.select(train[partition_id]), test=loaded.test.select(test[partition_id])
    )
