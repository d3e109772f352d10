"""The only local-training loop of the project: mini-batch SGD over tensors."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]

_BATCHES_PER_COPY = 64


@dataclass(frozen=True)
class TrainingSettings:
    """How a participant trains.

    Attributes:
        epochs: Passes over the participant's own examples.
        batch_size: Examples per step; the short last batch of an epoch is kept.
        learning_rate: Step size of plain SGD.
        precision: bfloat16 multiplies in bfloat16 (torch's autocast); weights, sums of
            gradients and the loss stay float32.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    precision: Precision = "float32"


class Score:
    """Summed loss and number right; stays on the device, so that adding waits for nothing."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device, dtype=torch.float64)
        self.correct = torch.zeros((), device=device, dtype=torch.int64)

    def add(self, loss: Tensor, log_probabilities: Tensor, labels: Tensor) -> None:
        """Add one batch: its summed loss, and the outputs [N, classes] for labels [N]."""
        self.loss += loss
        self.correct += (log_probabilities.argmax(1) == labels).sum()


@contextmanager
def seeded_layers(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what layers draw by themselves, on this device alone, and restore it after."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def batches_of(
    images: Tensor, labels: Tensor, order: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's batches (images, labels) in the order given.

    They are copied out many at a time: a look-up per batch takes longer than a small model's
    step, and one for the whole epoch would hold the data twice.
    """
    for block in torch.split(order, batch_size * _BATCHES_PER_COPY):
        yield from zip(
            torch.split(images[block], batch_size),
            torch.split(labels[block], batch_size),
            strict=True,
        )


def train_epoch(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    settings: TrainingSettings,
    score: Score | None,
) -> None:
    """Run one step of SGD per batch, in place: w <- w - learning_rate * gradient.

    Args:
        model: The model, in training mode and on the device of the batches.
        batches: Images and labels of each step.
        settings: Learning rate and precision.
        score: Where to add up the epoch's loss and accuracy; `None` saves the time.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    low = settings.precision == "bfloat16"
    for images, labels in batches:
        # Entered for each step: autocast keeps its copies of the weights until it is left.
        with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
            log_probabilities = model(images)
            loss = F.nll_loss(log_probabilities, labels)
        # Straight from the gradients to the weights: nothing to zero, nothing to accumulate.
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        used = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
        with torch.no_grad():
            torch._foreach_add_(*zip(*used, strict=True), alpha=-settings.learning_rate)
            if score is not None:
                score.add(loss * len(labels), log_probabilities, labels)
