"""What the server knows of the data: a test set and who holds what, or nothing at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from fl_app.core.plugins import NATURAL, OWN_DATA
from fl_app.core.run_config import RunConfig
from fl_app.data.partition import label_counts, partition_digest
from fl_app.data.tensor_dataset import Batch, BatchedExamples
from fl_app.tasks.checks import check_metrics, check_task
from fl_app.tasks.common_data import (
    CommonData,
    load_common_data,
    parts_of,
    resolve_name,
    training_parts,
)
from fl_app.tasks.registry import initial_model, task_of
from fl_app.tasks.settings import partition_spec
from fl_app.tasks.task import Task

_EXAMPLES_TO_TRY = 4


@dataclass(frozen=True)
class Partition:
    """Who holds which examples of a set that everybody could load.

    Attributes:
        counts: int64 [participants, classes], examples of each class; one column where there are
            no classes.
        label_names: One per column.
        sha256: Identifies the partition.
        names: The participants' names, where they have any.
    """

    counts: NDArray[np.int64]
    label_names: Sequence[str]
    sha256: str
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class ServerData:
    """The server's view of the data.

    Attributes:
        name: The data set in use, as in the run config but not `auto`; `own` where every
            participant brings its own.
        task: What is learned of it.
        metadata: What a saved model must say so that others can use it.
        test: The server's test set, if it has one.
        partition: Who holds what, if the server decides that.
        agreement: What participants agreed on before round 1; "" is nothing.
    """

    name: str
    task: Task
    metadata: Mapping[str, str] = field(default_factory=dict)
    test: BatchedExamples | None = None
    partition: Partition | None = None
    agreement: str = ""


def load_server_data(config: RunConfig) -> ServerData:
    """Resolve the data set for everybody, and load what the server needs of it.

    Raises:
        UserError: If the set is missing or damaged, or cannot be partitioned as asked.
    """
    name = resolve_name(config)
    if name == OWN_DATA:
        task = task_of(config)
        task.check_own_data()
        return ServerData(name, task, task.metadata())
    common = load_common_data(config, name)
    return ServerData(
        name=name,
        task=common.task,
        metadata={
            "classes": json.dumps(list(common.data.label_names)),
            **common.task.metadata(),
            **common.data.metadata,
        },
        test=common.data.test if len(common.data.test) else None,
        partition=_partition(common, config, name),
    )


def _partition(common: CommonData, config: RunConfig, name: str) -> Partition:
    spec, names = partition_spec(config), None
    if spec.name == NATURAL:
        found = parts_of(config, name)
        parts, names = found.train, found.names
    else:
        parts = training_parts(common, spec)
    labels, label_names = common.train_labels, common.data.label_names
    if labels is None:
        counts = np.array([[len(part)] for part in parts], np.int64)
        return Partition(counts, ("examples",), partition_digest(parts), names)
    classes = max(len(label_names), int(labels.max()) + 1)
    label_names = [*label_names, *map(str, range(len(label_names), classes))]
    counts = label_counts(labels, parts, classes)
    return Partition(counts, label_names, partition_digest(parts), names)


def check_model_fits(config: RunConfig, data: ServerData) -> None:
    """Let the model that a run will train work on a few examples of the kind that it will see.

    Raises:
        ModelError: If it cannot be trained on them; says what differs and what to change.
    """
    check_metrics(data.task)
    batch = data.task.sample_batch() if data.test is None else _first(data.task, data.test)
    if batch is None:
        return
    # A model of its own: whatever a forward pass does to one, the run begins with a fresh one.
    check_task(data.task, initial_model(data.task, config.seed, config.local_parameters), batch)


def _first(task: Task, examples: BatchedExamples) -> Batch:
    count = min(_EXAMPLES_TO_TRY, len(examples))
    few = examples.select(torch.arange(count))
    return next(few.batches(None, [count], task.collate, torch.device("cpu")))
