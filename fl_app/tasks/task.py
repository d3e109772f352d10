"""A learning task: model, data, loss and metrics. Everything else is the same for all tasks.

A task is named in the run config like any part, `task = "image-classification"`, or by the file it
is in, `task = "/home/me/my_task.py:MyTask(width=64)"`; docs/tasks.md builds one from nothing. What
must be there is `build_model`, `load_data` and `loss`; all else has a default.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import default_collate

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import LOSS, LOSS_METRIC, Metric
from fl_app.data.local_data import LocalData, OwnSource
from fl_app.data.tensor_dataset import Batch, BatchedExamples, Examples, TensorExamples
from fl_app.tasks.agreement import AgreesBeforehand
from fl_app.tasks.tally import Measures


class ModelError(ConfigError):
    """A model that does not fit its task's data, or returns what the task cannot use."""


@dataclass(frozen=True, eq=False)
class TaskData:
    """Data that everybody could load, and that a run divides among its participants.

    Attributes:
        train: What is divided.
        test: The server's test set, which is divided alike; may be empty.
        train_groups: For a natural partition, the name of each training example's owner: a
            hospital, a speaker, a state; one participant per name.
        test_groups: Likewise of each test example.
        label_names: The names of the classes, by label, where there are classes.
        metadata: What a saved model must say of the data so that others can use it.
    """

    train: Examples
    test: BatchedExamples
    train_groups: Sequence[str] | None = None
    test_groups: Sequence[str] | None = None
    label_names: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


class Task(AgreesBeforehand, ABC):
    """What is learned.

    A task is built anew for every message, so it must depend on its options alone.

    Attributes:
        metrics: What is measured beside the loss, by name; the first decides what "best" means.
        evaluation_batch_size: Examples per batch of an evaluation.
        num_classes: How many classes there are, where there are any and the task knows of itself.
    """

    metrics: Mapping[str, Metric] = MappingProxyType({})
    evaluation_batch_size = 500
    num_classes: int | None = None

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Build the model, with random initial weights; they are seeded by whoever calls."""

    @abstractmethod
    def load_data(self, data_dir: Path) -> TaskData:
        """Load the data that a simulation divides; once per process.

        Args:
            data_dir: The folder for data sets, absolute (run-config key data-dir).

        Raises:
            UserError: If it is missing or damaged.
        """

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> Tensor:  # noqa: ANN401 - the model's
        """Return the mean loss of a batch, a single number of a floating dtype, in nats or units².

        Args:
            outputs: What `outputs` returned.
            batch: What the model was given.
        """

    def outputs(self, model: nn.Module, batch: Batch) -> Any:  # noqa: ANN401
        """Let the model work on a batch; by default on all of its tensors but the last.

        A single tensor is input and target in one, as an autoencoder has it.
        """
        return model(*(batch[:-1] or batch))

    def measure(self, outputs: Any, batch: Batch) -> Measures:  # noqa: ANN401
        """Return a sum and a weight for every name in `metrics`; without gradients."""
        return {}

    def weight(self, batch: Batch) -> int | Tensor:
        """Return how many terms the mean of `loss` has: examples; for texts, real tokens."""
        return len(batch[-1])

    def collate(self, items: list[Any]) -> Batch:
        """Make a batch of items, where the examples are items; by default as torch does."""
        batch = default_collate(items)
        if isinstance(batch, Tensor):
            return (batch,)
        return tuple(batch) if isinstance(batch, list) else batch

    def training_batches(
        self, batches: Iterator[Batch], generator: torch.Generator
    ) -> Iterator[Batch]:
        """Return an epoch's batches as they are trained on; by default as they are.

        The place to augment training data. Evaluation does not come here.

        Args:
            batches: Of one epoch, on the device of the training.
            generator: Of this participant in this round; all randomness has to come from it.
        """
        return batches

    def is_federated(self, name: str) -> bool:
        """Tell whether a parameter or buffer of the model travels and is averaged.

        One that does not is the participant's own: it is trained, and remembered between rounds.
        """
        return True

    def partition_labels(self, examples: Examples) -> NDArray[np.int64] | None:
        """Return the class of each example, [N], for partitions by label; `None` has none."""
        targets = getattr(examples, "targets", None)
        if isinstance(targets, Tensor) and targets.ndim == 1 and targets.dtype == torch.int64:
            return targets.numpy()
        return None

    def with_labels(self, examples: Examples, labels: NDArray[np.int64]) -> BatchedExamples:
        """Return examples with other classes, for tests of participants that lie about them."""
        if not isinstance(examples, TensorExamples):
            raise ConfigError(
                f"{type(self).__name__} has no classes that an adversary could exchange; take "
                "another adversary"
            )
        return type(examples)(*examples.tensors[:-1], torch.from_numpy(labels))

    def check_outputs(self, outputs: Any, batch: Batch) -> None:  # noqa: ANN401
        """Refuse what the model returned for a first batch if it is of no use.

        Raises:
            ModelError: Says what it is, and what it must be.
        """

    def check_model(self, model: nn.Module, batch: Batch) -> None:
        """Refuse a model that cannot work on a first batch, before a run begins.

        What `fl_app.tasks.checks` finds for any task is found after this.

        Args:
            model: With its initial weights; its mode and buffers must be left as they are.
            batch: A few test examples, or what `sample_batch` made.

        Raises:
            ModelError: Says what does not fit, and what to change.
        """

    def sample_batch(self) -> Batch | None:
        """Return a batch to try the model on where the server has no data; `None` tries nothing."""
        return None

    def load_own_data(self, source: OwnSource) -> LocalData[BatchedExamples]:
        """Read a participant's own data, with `dataset = "own"`.

        Raises:
            UserError: If it is missing, damaged, or not as agreed; by default, that there is no
                such way.
        """
        raise self._no_own_data()

    def check_own_data(self) -> None:
        """Refuse, on the server, settings that do not say enough for `load_own_data`.

        Raises:
            ConfigError: By default, where the task has no way to read a participant's own data.
        """
        if type(self).load_own_data is Task.load_own_data:
            raise self._no_own_data()

    def _no_own_data(self) -> ConfigError:
        return ConfigError(
            f"run config: dataset = 'own' is not for the task {type(self).__name__}, which does "
            "not say how to read a participant's own data (load_own_data)"
        )

    def metadata(self) -> Mapping[str, str]:
        """Return what a saved model must say of the task so that others can use it."""
        return {}

    def restore(self, metadata: Mapping[str, str]) -> None:
        """Take in what a saved model says, before its model is built; undoes `metadata`.

        Args:
            metadata: Of the file: what `Task.metadata` and `TaskData.metadata` gave, and more.

        Raises:
            UserError: If something is missing in it.
        """

    def predict(self, model: nn.Module, source: str) -> Iterator[str]:
        """Yield a line in words for each example that a person names.

        Args:
            model: A trained one, on the CPU, in evaluation mode.
            source: A path of a file of examples, or a text, as the task takes it.

        Raises:
            UserError: If it cannot be read; by default, that there is no such way.
        """
        raise ConfigError(f"the task {type(self).__name__} does not say how to predict (predict)")


def all_metrics(task: Task) -> dict[str, Metric]:
    """Return a task's metrics by name, the loss among them, in the order they are shown in."""
    return {**task.metrics, LOSS: LOSS_METRIC}
