"""What the laws of a task are tried with: the task, its data, and models of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from fl_app.core.errors import UserError
from fl_app.core.metrics import LOSS, Sum
from fl_app.core.paths import resolve_data_dir
from fl_app.data.tensor_dataset import Batch, BatchedExamples
from fl_app.tasks.checks import check_loss, check_measures
from fl_app.tasks.common_data import check_data
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import initial_model
from fl_app.tasks.tally import Tally, loss_sum
from fl_app.tasks.task import Task, TaskData
from fl_app.training.local.local_training import LocalUpdate, local_update, widened
from fl_app.training.local.sgd import TrainingSettings
from strategies.contract.laws import Build, CannotBeCheckedError

EXAMPLES = 12
_SEED = 1
_CPU = torch.device("cpu")

Measured = dict[str, Sum]


@dataclass(frozen=True, eq=False)
class Trial:
    """A task under trial.

    Attributes:
        build: Makes the task anew.
        task: One that was made so, which has loaded `data`.
        data: Its data.
    """

    build: Build
    task: Task
    data: TaskData

    @cached_property
    def second(self) -> "Trial":
        """The same with another build, which has loaded the data once more."""
        return begin(self.build)

    def model(self, seed: int = _SEED) -> nn.Module:
        """Return a model with the initial weights of a seed."""
        return initial_model(self.task, seed)

    def some(self, generator: np.random.Generator, count: int = EXAMPLES) -> BatchedExamples:
        """Draw training examples, without repetition."""
        count = min(count, len(self.data.train))
        chosen = generator.permutation(len(self.data.train))[:count]
        return self.data.train.select(np.sort(chosen).astype(np.int64))

    def batches(
        self, examples: BatchedExamples, sizes: Sequence[int], order: Tensor | None = None
    ) -> Iterator[Batch]:
        """Yield examples in batches."""
        return examples.batches(order, sizes, self.task.collate, _CPU)

    def batch(self, examples: BatchedExamples, order: Sequence[int] | None = None) -> Batch:
        """Return examples as one batch, by default all as they come; one may come twice."""
        order = list(range(len(examples)) if order is None else order)
        (batch,) = self.batches(examples, [len(order)], torch.tensor(order))
        return batch

    def measured(self, model: nn.Module, batch: Batch) -> Measured:
        """Return the sums that an evaluation has of a batch, the loss among them."""
        model.to(memory_format=torch.channels_last)  # as in training
        model.eval()
        tally = Tally()
        with torch.no_grad():
            outputs = widened(self.task.outputs(model, batch))
            loss, weight = self.task.loss(outputs, batch), self.task.weight(batch)
            check_loss(self.task, loss)
            measures = self.task.measure(outputs, batch)
            check_measures(self.task, measures)
            tally.add({**measures, LOSS: loss_sum(loss, weight)})
        return tally.sums()

    def update(
        self, examples: BatchedExamples, epochs: int = 1, learning_rate: float = 0.01
    ) -> tuple[LocalUpdate, nn.Module]:
        """Train a fresh model as a participant does, and return what came of it."""
        model = self.model()
        settings = TrainingSettings(epochs, max(2, EXAMPLES // 3), learning_rate)
        weights = get_weights(model)
        generator = torch.Generator().manual_seed(_SEED)
        return local_update(self.task, model, weights, examples, settings, generator), model


def begin(build: Build) -> Trial:
    """Build a task, its data and its model.

    Raises:
        CannotBeCheckedError: If it cannot be done, so that no law can be tried.
    """
    task: Task = build()
    name = type(task).__name__
    if not isinstance(task, Task):
        raise CannotBeCheckedError(
            f"{name} is no Task: derive the class from Task of fl_app.tasks.task"
        )
    try:
        data = check_data(task, task.load_data(resolve_data_dir("")))
        initial_model(task, _SEED)
    except UserError as error:
        raise CannotBeCheckedError(str(error)) from error
    except Exception as error:  # a user's task may raise anything
        raise CannotBeCheckedError(
            f"the task {name} cannot load its data or build its model: "
            f"{type(error).__name__}: {error}"
        ) from error
    if len(data.train) < 4:
        raise CannotBeCheckedError(
            f"load_data of {name} gave {len(data.train)} training examples; at least 4 are needed"
        )
    return Trial(build, task, data)


@lru_cache(maxsize=1)
def trial_of(build: Build) -> Trial:
    """Return the trial of a task; its data is loaded once for all laws."""
    return begin(build)


def tensors_in(batch: Batch) -> list[Tensor]:
    """Return the tensors that a batch is made of, in order."""
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        return [tensor for value in batch.values() for tensor in tensors_in(value)]
    if isinstance(batch, tuple | list):
        return [tensor for value in batch for tensor in tensors_in(value)]
    return []


def halves(count: int) -> list[int]:
    """Return two unequal sizes that add up to a number."""
    return [b - a for a, b in pairwise([0, count // 3, count])]
