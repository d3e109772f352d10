"""A participant's local update, and the only evaluation loop of the project."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from flwr.common import Scalar
from numpy.typing import NDArray
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import LOSS, LOSS_METRIC, Sums, encode, finished
from fl_app.data.tensor_dataset import BatchedExamples, map_tensors
from fl_app.messaging.fit_config import TRAIN_MEASURES_KEY
from fl_app.tasks.model.federated_model import narrow_flags
from fl_app.tasks.model.parameters import Arrays, get_weights, set_weights
from fl_app.tasks.tally import Tally, loss_sum
from fl_app.tasks.task import Task
from fl_app.training.local.batches import batch_sizes
from fl_app.training.local.gradient_correction import LocalCorrection, effective_steps
from fl_app.training.local.sgd import LocalSgd, TrainingSettings, keep_freed_memory, seeded_layers
from strategies.core.bfloat16 import rounded
from strategies.core.client_update import LOCAL_STEPS_KEY
from strategies.core.vectors import euclidean_norm


@dataclass(frozen=True)
class LocalUpdate:
    """What local training gives.

    Attributes:
        weights: The local weights `w_i`, one array per travelling tensor.
        delta: Local minus global weights, `w_i - w_t`.
        num_examples: Number of examples trained on.
        sums: Loss and metrics over the last epoch, as it was trained.
        seconds: Wall-clock time of the training.
        effective_steps: How far its steps go, in steps of plain SGD; see `effective_steps`.
    """

    weights: Arrays
    delta: Arrays
    num_examples: int
    sums: Sums
    seconds: float
    effective_steps: float

    @property
    def norm(self) -> float:
        """The Euclidean norm of the whole delta."""
        return euclidean_norm(self.delta)

    @property
    def loss(self) -> float:
        """The mean loss over the last epoch, as it was trained."""
        return LOSS_METRIC.value(self.sums[LOSS])


@dataclass(frozen=True)
class Evaluation:
    """Loss and metrics, exact over the examples."""

    sums: Sums
    num_examples: int
    metrics: Mapping[str, float]

    @property
    def loss(self) -> float:
        """The mean loss."""
        return LOSS_METRIC.value(self.sums[LOSS])


def training_metrics(update: LocalUpdate) -> dict[str, Scalar]:
    """Return what a participant says of its training, beside the update."""
    return {
        TRAIN_MEASURES_KEY: encode(update.sums),
        "update-norm": update.norm,
        "train-seconds": update.seconds,
        LOCAL_STEPS_KEY: update.effective_steps,
    }


def resolve_device(device: str) -> torch.device:
    """Turn `auto` into a GPU if this process was given one, else the CPU.

    Raises:
        ConfigError: If `cuda` is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "run config: device = 'cuda', but this process sees no GPU; use 'auto' or 'cpu'"
        )
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.deterministic = True  # the same weights again tomorrow
    return torch.device("cuda")


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with `count` CPU threads inside the block; 0 leaves the number as it is.

    The order in which a kernel sums depends on the number of threads, so results are equal
    to the bit only for equal numbers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def local_update(
    task: Task,
    model: nn.Module,
    weights: Sequence[NDArray[Any]],
    examples: BatchedExamples,
    settings: TrainingSettings,
    generator: torch.Generator,
    device: torch.device | None = None,
    correction: LocalCorrection | None = None,
) -> LocalUpdate:
    """Train on a participant's own examples from the global weights: step 2.

    Args:
        task: Knows the loss and the metrics.
        model: A model of the kind that `weights` are of; used as the place to work in.
        weights: The global weights `w_t`.
        examples: What the participant holds.
        settings: Epochs, batch size, learning rate, and how SGD goes about it.
        generator: Decides the order of the examples, and dropout where the model has any.
        device: Where to train; the CPU by default.
        correction: What is added to the gradients, if anything.

    Returns:
        The delta and what there is to say about it.

    Raises:
        ValueError: If there are no examples, or `weights` do not fit the model.
        ConfigError: If the model returns what the task cannot use, or cannot be trained in batches
            of this size.
    """
    if len(examples) == 0:
        raise ValueError("there are no examples to train on")
    keep_freed_memory()
    start = time.perf_counter()
    start_weights = set_weights(model, weights)
    device = device or torch.device("cpu")
    # Channels last is the layout the CPU's and the GPU's convolutions are fastest in.
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    correction = correction or LocalCorrection()
    sgd = LocalSgd(task, model, settings, correction.begin(model))
    sizes = batch_sizes(task, model, examples, settings.batch_size, device)
    tally = Tally()
    with seeded_layers(generator.initial_seed(), device):
        for epoch in range(settings.epochs):
            order = torch.randperm(len(examples), generator=generator)
            batches = examples.batches(order, sizes, task.collate, device)
            batches = task.training_batches(batches, generator)
            sgd.train_epoch(batches, tally if epoch == settings.epochs - 1 else None)
    local_weights = get_weights(model)
    delta = [w_i - w_t for w_i, w_t in zip(local_weights, start_weights, strict=True)]
    return LocalUpdate(
        weights=local_weights,
        delta=rounded(delta, narrow_flags(model)),
        num_examples=len(examples),
        sums=tally.sums(),
        seconds=time.perf_counter() - start,
        effective_steps=effective_steps(
            sgd.steps,
            settings.learning_rate,
            0.0 if settings.optimizer else settings.momentum,
            correction.mu,
        ),
    )


@torch.no_grad()  # in inference mode a model that is moved, or that keeps something, trains no more
def evaluate(
    task: Task, model: nn.Module, examples: BatchedExamples, device: torch.device | None = None
) -> Evaluation:
    """Evaluate a model on examples.

    Loss and metrics are summed over examples and divided once, so the result does not depend on
    the batching. The loss is taken in float32 at least: half precision would round a mean to eight
    or eleven bits, and float16 ends at 65504.

    Raises:
        ValueError: If there are no examples.
        ModelError: If the model returns what the task cannot use.
    """
    if len(examples) == 0:
        raise ValueError("there are no examples to evaluate on")
    keep_freed_memory()
    device = device or torch.device("cpu")
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    whole, rest = divmod(len(examples), task.evaluation_batch_size)
    sizes = [task.evaluation_batch_size] * whole + [rest] * (rest > 0)
    tally = Tally()
    for number, batch in enumerate(examples.batches(None, sizes, task.collate, device)):
        outputs = task.outputs(model, batch)
        if number == 0:
            task.check_outputs(outputs, batch)
        outputs = widened(outputs)
        loss = loss_sum(task.loss(outputs, batch), task.weight(batch))
        tally.add({**task.measure(outputs, batch), LOSS: loss})
    sums = tally.sums()
    return Evaluation(sums, len(examples), finished(task.metrics, sums))


def widened(outputs: Any) -> Any:  # noqa: ANN401 - what a model returned
    """Return outputs with tensors of 16 bits as float32, and others as they are."""
    return map_tensors(_wide, outputs)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
