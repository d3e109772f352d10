"""A participant's own examples: a part of a common set, or data that only it has."""

from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

from torch import nn

from fl_app.core.errors import ConfigError
from fl_app.core.node import NodeConfig, participant_name, partition_id, path_in
from fl_app.core.paths import absolute_path, resolve_state_dir
from fl_app.core.plugins import NATURAL, OWN_DATA
from fl_app.core.run_config import RunConfig
from fl_app.data.local_data import LocalData, OwnSource
from fl_app.data.tensor_dataset import BatchedExamples
from fl_app.tasks.common_data import Settings, load_common_data, parts_of, resolve_name
from fl_app.tasks.registry import build_task, initial_model, task_of, task_settings
from fl_app.tasks.task import Task
from strategies.registry import known_name


@dataclass(frozen=True)
class LocalTask:
    """What a participant learns, and of what, as one message tells it.

    Attributes:
        config: The run config.
        node_config: Who it is, and where its data lies or which part is its own.
        dataset: The set that the server resolved; `None` resolves it here.
        agreement: What participants with their own data agreed on, if anything.
    """

    config: RunConfig
    node_config: NodeConfig
    dataset: str | None = None
    agreement: str = ""

    @cached_property
    def name(self) -> str:
        """Who it is."""
        return name_of_participant(self.node_config, self.config, self.dataset)

    @cached_property
    def task(self) -> Task:
        """The task, with what is agreed on."""
        task = task_of(self.config, data_name(self.config, self.dataset))
        if self.agreement:
            task.take_agreement(self.agreement)
        return task

    def model(self) -> nn.Module:
        """Build the model with the run's initial weights."""
        return initial_model(self.task, self.config.seed, self.config.local_parameters)

    def data(self) -> LocalData[BatchedExamples]:
        """Load its examples; see `local_data`."""
        return local_data(self.node_config, self.config, self.dataset, self.agreement)


def local_data(
    node_config: NodeConfig, config: RunConfig, dataset: str | None, agreement: str = ""
) -> LocalData[BatchedExamples]:
    """Load a participant's examples; once per process.

    Args:
        node_config: Says which part, or where its own data lies.
        config: The run config.
        dataset: The set that the server resolved; `None` resolves it here.
        agreement: What participants with their own data agreed on, if anything.

    Raises:
        UserError: If the data or the node config has to be put right.
    """
    if config.dataset == OWN_DATA:
        settings = tuple(task_settings(config).items())
        return _own_data(config.task, settings, agreement, own_source(node_config, config))
    name = data_name(config, dataset)
    index = partition_id(node_config, config)
    parts, data = parts_of(config, name), load_common_data(config, name).data
    return LocalData(
        partial(data.train.select, parts.train[index]),
        partial(data.test.select, parts.test[index]),
    )


def name_of_participant(node_config: NodeConfig, config: RunConfig, dataset: str | None) -> str:
    """Return who a node is: the name it declares, the owner of its part, or its partition id.

    Raises:
        UserError: As `participant_name` and `local_data` do.
    """
    own = participant_name(node_config, config)
    if config.partitioner != NATURAL or config.dataset == OWN_DATA or node_config.get("name"):
        return own
    names = parts_of(config, data_name(config, dataset)).names
    return own if names is None else names[partition_id(node_config, config)]


def data_name(config: RunConfig, dataset: str | None) -> str:
    """Return what a run's data is called, as the server says or as this machine finds.

    Raises:
        ConfigError: If the server names code that the run config does not.
    """
    if dataset is None or config.dataset == OWN_DATA or "dataset" not in task_settings(config):
        return resolve_name(config)
    if dataset != config.dataset and known_name("dataset", dataset) is None:
        raise ConfigError(
            f"the server says that the data set is {dataset!r}, but the run config has "
            f"dataset = {config.dataset!r}"
        )
    return dataset


def own_source(node_config: NodeConfig, config: RunConfig) -> OwnSource:
    """Return where a participant's own data lies.

    Raises:
        ConfigError: If its node config does not say, or says it wrongly.
    """
    data, test_data = path_in(node_config, "data"), path_in(node_config, "test-data")
    if not data:
        raise ConfigError(
            "node config: data is missing; a participant with its own data is started with "
            '--node-config \'name="<who>" data="<absolute path>"\''
        )
    return OwnSource(
        data=absolute_path("node config: data", data),
        test_data=absolute_path("node config: test-data", test_data) if test_data else None,
        holdout_fraction=config.holdout_fraction,
        seed=config.seed,
        participant=participant_name(node_config, config),
        cache_folder=_cache_folder(node_config),
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
def _own_data(
    text: str, settings: Settings, agreement: str, source: OwnSource
) -> LocalData[BatchedExamples]:
    task = build_task(text, dict(settings))
    if agreement:
        task.take_agreement(agreement)
    return task.load_own_data(source)
