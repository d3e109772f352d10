"""What a saved model of any task is evaluated on."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fl_app.core.errors import UserError
from fl_app.core.paths import resolve_data_dir
from fl_app.core.plugins import OWN_DATA
from fl_app.data.local_data import OwnSource
from fl_app.data.tensor_dataset import BatchedExamples
from fl_app.tasks.task import Task
from scripts.analysis.class_scores import Classes


@dataclass(frozen=True, eq=False)
class TestSet:
    """What a model is evaluated on.

    Attributes:
        name: A data set, a task, or the path of somebody's own data.
        examples: As the model was trained on.
        classes: What is known of their classes; `None` where there are none.
    """

    name: str
    examples: BatchedExamples
    classes: Classes | None


def task_test_set(
    options: argparse.Namespace, file: Path, metadata: Mapping[str, str], task: Task
) -> TestSet:
    """Load what a model of any task but images is evaluated on: own data, or the task's test set.

    Args:
        options: Of the command: `data`, `dataset` and `data_dir`.
        file: Where the model is from.
        metadata: The file's own.
        task: Of the model.

    Raises:
        UserError: If there is nothing, or it is not as the task takes it.
    """
    name, own = type(task).__name__, metadata.get("dataset") == OWN_DATA
    if options.dataset is not None:
        raise UserError(f"--dataset is for images, and the task {name} brings its own data")
    if options.data is not None:
        path = options.data.expanduser().absolute()
        source = OwnSource(path, None, holdout_fraction=0.0, seed=0, participant="evaluate")
        examples = task.load_own_data(source).train
        return TestSet(str(path), examples, _classes_of(task, examples, _names_in(metadata)))
    if own:
        raise UserError(
            f"{file} is of participants' own data, which is not here. Name data of the same kind "
            "with --data"
        )
    data = task.load_data(
        resolve_data_dir(str(options.data_dir.expanduser().absolute()) if options.data_dir else "")
    )
    if len(data.test) == 0:
        raise UserError(f"the task {name} has no test set; name data of the same kind with --data")
    names = tuple(data.label_names) or _names_in(metadata)
    return TestSet(metadata.get("dataset", name), data.test, _classes_of(task, data.test, names))


def _names_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return tuple(map(str, json.loads(metadata.get("classes", "[]"))))
    except (ValueError, TypeError):
        return ()


def _classes_of(task: Task, examples: BatchedExamples, names: tuple[str, ...]) -> Classes | None:
    """Return the classes that are predicted, if it is clear that some are: one per example."""
    labels = task.partition_labels(examples)
    if labels is None or not names:
        return None
    truth: Tensor = torch.from_numpy(labels)
    return Classes(truth, names, outputs_may_exceed=True)
