"""A participant's local update, and the only evaluation loop of the project."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from numpy.typing import NDArray
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.data.tensor_dataset import Examples
from fl_app.tasks.model_outputs import check_outputs
from fl_app.tasks.parameters import Arrays, get_weights, set_weights
from fl_app.training.batches import batch_sizes
from fl_app.training.gradient_correction import LocalCorrection, effective_steps
from fl_app.training.sgd import (
    EpochScore,
    LocalSgd,
    TrainingSettings,
    batches_of,
    keep_freed_memory,
    seeded_layers,
)
from strategies.core.vectors import euclidean_norm

_EVALUATION_BATCH = 500


@dataclass(frozen=True)
class LocalUpdate:
    """What local training gives.

    Attributes:
        weights: The local weights `w_i`, one array per travelling tensor.
        delta: Local minus global weights, `w_i - w_t`.
        num_examples: Number of examples trained on.
        loss: Mean negative log-likelihood over the last epoch, in nats, as it was trained.
        accuracy: Share of the last epoch's examples classified right, as it was trained.
        seconds: Wall-clock time of the training.
        effective_steps: How far its steps go, in steps of plain SGD; see `effective_steps`.
    """

    weights: Arrays
    delta: Arrays
    num_examples: int
    loss: float
    accuracy: float
    seconds: float
    effective_steps: float

    @property
    def norm(self) -> float:
        """The Euclidean norm of the whole delta."""
        return euclidean_norm(self.delta)


@dataclass(frozen=True)
class Evaluation:
    """Loss (mean negative log-likelihood in nats) and accuracy, exact over the examples."""

    loss: float
    accuracy: float
    num_examples: int


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
    model: nn.Module,
    weights: Sequence[NDArray[Any]],
    examples: Examples,
    settings: TrainingSettings,
    generator: torch.Generator,
    device: torch.device | None = None,
    correction: LocalCorrection | None = None,
) -> LocalUpdate:
    """Train on a participant's own examples from the global weights: step 2.

    Args:
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
        ConfigError: If the model returns no log-probabilities, or cannot be trained in batches of
            this size.
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
    images, labels = examples.images.to(device), examples.labels.to(device)
    correction = correction or LocalCorrection()
    num_classes = int(examples.labels.max()) + 1
    sgd = LocalSgd(model, settings, correction.begin(model), num_classes)
    sizes = batch_sizes(model, images, settings.batch_size)
    score = None
    with seeded_layers(generator.initial_seed(), device):
        for epoch in range(settings.epochs):
            order = torch.randperm(len(examples), generator=generator).to(device)
            batches = batches_of(images, labels, order, sizes)
            score = EpochScore(device) if epoch == settings.epochs - 1 else None
            sgd.train_epoch(batches, score)
    local_weights = get_weights(model)
    return LocalUpdate(
        weights=local_weights,
        delta=[w_i - w_t for w_i, w_t in zip(local_weights, start_weights, strict=True)],
        num_examples=len(examples),
        loss=0.0 if score is None else float(score.loss) / len(examples),
        accuracy=0.0 if score is None else int(score.correct) / len(examples),
        seconds=time.perf_counter() - start,
        effective_steps=effective_steps(
            sgd.steps, settings.learning_rate, settings.momentum, correction.mu
        ),
    )


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the probabilities [N, classes] of images [N, C, H, W] in one batch.

    Raises:
        RuntimeError: If the model does not take such images.
        ModelError: If it returns no log-probabilities.
    """
    model.eval()
    log_probabilities: Tensor = model(images)
    check_outputs(log_probabilities, len(images), num_classes=1)
    return log_probabilities.exp()


@torch.no_grad()  # in inference mode a model that is moved, or that keeps something, trains no more
def evaluate(
    model: nn.Module, examples: Examples, device: torch.device | None = None
) -> Evaluation:
    """Evaluate a model on examples.

    Loss and correct answers are summed over examples and divided once, so the result does
    not depend on the batching. The loss is summed in float32 at least: half precision would round
    the sum to eight or eleven bits, and float16 ends at 65504.

    Raises:
        ValueError: If there are no examples.
        ModelError: If the model returns no log-probabilities.
    """
    if len(examples) == 0:
        raise ValueError("there are no examples to evaluate on")
    keep_freed_memory()
    device = device or torch.device("cpu")
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    loss = torch.zeros((), device=device, dtype=torch.float64)
    correct = torch.zeros((), device=device, dtype=torch.int64)
    batches = zip(
        torch.split(examples.images, _EVALUATION_BATCH),
        torch.split(examples.labels, _EVALUATION_BATCH),
        strict=True,
    )
    for number, (images, labels) in enumerate(batches):
        targets = labels.to(device)
        log_probabilities = model(images.to(device))
        if number == 0:
            check_outputs(log_probabilities, len(images), int(examples.labels.max()) + 1)
        # A sum of hundreds in 16 bits would be off by percents.
        wide = log_probabilities.to(torch.promote_types(log_probabilities.dtype, torch.float32))
        loss += F.nll_loss(wide, targets, reduction="sum")
        correct += (log_probabilities.argmax(1) == targets).sum()
    return Evaluation(float(loss) / len(examples), int(correct) / len(examples), len(examples))
