"""Data that everybody could load: which it is, and who holds which part of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl_app.core.errors import ConfigError
from fl_app.core.paths import resolve_data_dir
from fl_app.core.plugins import AUTO_DATA, NATURAL, OWN_DATA
from fl_app.core.run_config import RunConfig
from fl_app.core.run_config_keys.key import Value
from fl_app.data.datasets import resolve_dataset
from fl_app.data.partition import (
    PartitionSpec,
    natural_partition,
    partition_indices,
    train_and_test_indices,
)
from fl_app.tasks.registry import build_task, task_settings, told_with
from fl_app.tasks.settings import partition_spec
from fl_app.tasks.task import Task, TaskData
from strategies.part_kinds import BY_LABEL
from strategies.registry import facts_of

_DATASET = "dataset"

Settings = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, eq=False)
class CommonData:
    """A data set that everybody could load, with the task that it is for.

    Attributes:
        task: The task.
        data: What it loads.
        train_labels: int64 [N], the class of each training example; `None` where there are none.
        test_labels: Likewise.
    """

    task: Task
    data: TaskData
    train_labels: NDArray[np.int64] | None
    test_labels: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Parts:
    """Who holds which examples.

    Attributes:
        train: One int64 array of indices per participant.
        test: Likewise.
        names: One per participant, where the partition is natural.
    """

    train: Sequence[NDArray[np.int64]]
    test: Sequence[NDArray[np.int64]]
    names: Sequence[str] | None = None


def resolve_name(config: RunConfig) -> str:
    """Return what the data of a run is called, for everybody; `auto` may fetch something.

    Raises:
        ConfigError: If there is no such data set.
    """
    if config.dataset == OWN_DATA:
        return OWN_DATA
    if _DATASET in task_settings(config):
        return resolve_dataset(config.dataset, resolve_data_dir(config.data_dir))
    if config.dataset != AUTO_DATA:
        raise ConfigError(
            f"run config: dataset = {config.dataset!r} is for another task; "
            f"task = {config.task!r} brings its data: set dataset = 'auto', or 'own' where every "
            "participant has its own"
        )
    return config.task


def load_common_data(config: RunConfig, name: str) -> CommonData:
    """Load the data of a run; later calls in this process are free.

    Args:
        config: The run config.
        name: What `resolve_name` returned.

    Raises:
        UserError: If it is missing or damaged.
    """
    return _load(config.task, _settings(config, name), resolve_data_dir(config.data_dir))


def parts_of(config: RunConfig, name: str) -> Parts:
    """Return who holds which examples; later calls in this process are free.

    Raises:
        ConfigError: If the data cannot be divided as asked.
    """
    data_dir = resolve_data_dir(config.data_dir)
    return _parts(config.task, _settings(config, name), data_dir, partition_spec(config))


def check_data(task: Task, data: object) -> TaskData:
    """Return what a task has loaded, if it is what it has to be.

    Raises:
        ConfigError: Says what it is instead, and what to give.
    """
    whose = f"load_data of {type(task).__name__}"
    if not isinstance(data, TaskData):
        raise ConfigError(
            f"{whose} gave a {type(data).__name__}; it must give a TaskData of fl_app.tasks.task"
        )
    of_all = ("__len__", "select")  # what is divided need not be ready for a model
    for part, examples, groups, offers in (
        ("train", data.train, data.train_groups, of_all),
        ("test", data.test, data.test_groups, (*of_all, "batches")),
    ):
        if not all(hasattr(examples, name) for name in offers):
            raise ConfigError(
                f"{whose} gave a {type(examples).__name__} for {part}; it must be examples, such "
                "as TensorExamples or ItemExamples of fl_app.data.tensor_dataset, of which there "
                "may be none"
            )
        if groups is not None:
            _check_groups(f"{whose}: {part}_groups", groups, len(examples))
    return data


def _check_groups(which: str, groups: object, count: int) -> None:
    if not isinstance(groups, Sequence) or not all(isinstance(name, str) for name in groups):
        raise ConfigError(
            f"{which} is a {type(groups).__name__}; it must be a list of texts, the owner of each "
            "example: write [str(owner) for owner in owners]"
        )
    if len(groups) != count:
        raise ConfigError(
            f"{which}: there are {len(groups)} for {count} examples; give one for each, in their "
            "order"
        )


def training_parts(common: CommonData, spec: PartitionSpec) -> Sequence[NDArray[np.int64]]:
    """Return who holds which training examples, without the test examples."""
    if spec.name == NATURAL:
        return _natural(common, spec).train
    return partition_indices(_labels(common.train_labels, len(common.data.train), spec), spec)


def _settings(config: RunConfig, name: str) -> Settings:
    return tuple(task_settings(config, name).items())


@lru_cache(maxsize=2)
def _load(text: str, settings: Settings, data_dir: Path) -> CommonData:
    task = build_task(text, dict(settings))
    with told_with("load_data", task):
        loaded = task.load_data(data_dir)
    data = check_data(task, loaded)
    return CommonData(
        task, data, task.partition_labels(data.train), task.partition_labels(data.test)
    )


@lru_cache(maxsize=4)
def _parts(text: str, settings: Settings, data_dir: Path, spec: PartitionSpec) -> Parts:
    common = _load(text, settings, data_dir)
    if spec.name == NATURAL:
        return _natural(common, spec)
    train = _labels(common.train_labels, len(common.data.train), spec)
    test = _labels(common.test_labels, len(common.data.test), spec)
    return Parts(*train_and_test_indices(train, test, spec))


def _natural(common: CommonData, spec: PartitionSpec) -> Parts:
    groups, test_groups = common.data.train_groups, common.data.test_groups
    if groups is None:
        raise ConfigError(
            f"run config: partitioner = {NATURAL!r} needs data whose examples have owners, such "
            f"as speakers or hospitals; {type(common.task).__name__} has none (train_groups)"
        )
    if test_groups is None and len(common.data.test):
        raise ConfigError(f"{type(common.task).__name__} has train_groups and no test_groups")
    return Parts(*natural_partition(groups, test_groups or (), spec.num_partitions))


def _labels(labels: NDArray[np.int64] | None, count: int, spec: PartitionSpec) -> NDArray[np.int64]:
    """Return the labels to divide by; all are 0 where there are no classes."""
    if labels is not None:
        return labels
    if BY_LABEL in facts_of("partitioner", spec.name):
        raise ConfigError(
            f"run config: partitioner = {spec.name!r} divides by classes, and this task has none; "
            f"take contiguous, iid, linear, or {NATURAL} where examples have owners"
        )
    return np.zeros(count, np.int64)
