"""A participant's own examples: a part of a common set, or data that only it has."""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl_app.core.errors import ConfigError
from fl_app.core.node import NodeConfig, participant_name, partition_id, path_in
from fl_app.core.paths import absolute_path, resolve_data_dir, resolve_state_dir
from fl_app.core.plugins import OWN_DATA
from fl_app.core.run_config import RunConfig
from fl_app.data.datasets import load_dataset, resolve_dataset
from fl_app.data.local_files.cache import PictureCache
from fl_app.data.local_files.loader import LocalData, OwnDataSpec, load_own_data
from fl_app.data.partition import PartitionSpec, train_and_test_indices
from fl_app.tasks.settings import own_images, partition_spec
from strategies.registry import known_name


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
        return _own_data(_own_data_spec(node_config, config), _cache_folder(node_config))
    data_dir = resolve_data_dir(config.data_dir)
    name = resolve_dataset(config.dataset, data_dir) if dataset is None else _told(dataset, config)
    return _part(name, data_dir, partition_spec(config), partition_id(node_config, config))


def _told(dataset: str, config: RunConfig) -> str:
    """Check what a message says the data set is: it names no code that the run config does not."""
    if dataset != config.dataset and known_name("dataset", dataset) is None:
        raise ConfigError(
            f"the server says that the data set is {dataset!r}, but the run config has "
            f"dataset = {config.dataset!r}"
        )
    return dataset


def _own_data_spec(node_config: NodeConfig, config: RunConfig) -> OwnDataSpec:
    data, test_data = path_in(node_config, "data"), path_in(node_config, "test-data")
    if not data:
        raise ConfigError(
            "node config: data is missing; a participant with its own data is started with "
            '--node-config \'name="<who>" data="<absolute path>"\''
        )
    data_path = absolute_path("node config: data", data)
    test_path = absolute_path("node config: test-data", test_data) if test_data else None
    names, shape = own_images(config)
    return OwnDataSpec(
        data=data_path,
        test_data=test_path,
        class_names=names,
        image_shape=shape,
        mean=config.image_mean,
        std=config.image_std,
        holdout_fraction=config.holdout_fraction,
        seed=config.seed,
        participant=participant_name(node_config, config),
    )


def _cache_folder(node_config: NodeConfig) -> Path | None:
    """Return where a node keeps its pictures decoded; nowhere if its operator says so."""
    wanted = node_config.get("data-cache", True)
    if not isinstance(wanted, bool):
        raise ConfigError(f"node config: data-cache = {wanted!r} must be true or false")
    if not wanted:
        return None
    return resolve_state_dir(str(node_config.get("state-dir", ""))) / "data-cache"


@lru_cache(maxsize=4)
def _own_data(spec: OwnDataSpec, cache_folder: Path | None) -> LocalData:
    return load_own_data(spec, None if cache_folder is None else PictureCache(cache_folder))


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
        partial(loaded.train.select, train[partition_id]),
        partial(loaded.test.select, test[partition_id]),
    )
