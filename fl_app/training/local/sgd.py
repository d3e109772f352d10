"""The only local-training loop of the project: mini-batch SGD, or one of torch's optimizers."""

import ctypes
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

from fl_app.core.metrics import LOSS
from fl_app.data.tensor_dataset import Batch
from fl_app.tasks.checks import check_gradient, check_loss
from fl_app.tasks.model.federated_model import trained_parameters
from fl_app.tasks.tally import Tally
from fl_app.tasks.task import Task
from fl_app.training.local.gradient_correction import RoundCorrection, Tensors
from fl_app.training.local.optimizers import LocalOptimizer, clipped

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a participant trains.

    Attributes:
        epochs: Passes over the participant's own examples.
        batch_size: Examples per step; the short last batch of an epoch is kept.
        learning_rate: Step size of SGD.
        precision: bfloat16 multiplies in bfloat16 (torch's autocast); weights, sums of
            gradients and the loss stay float32.
        momentum: As torch.optim.SGD's: `v <- momentum * v + g`, begun anew in each round.
        weight_decay: Likewise: `g + weight_decay * w` is taken for the gradient.
        optimizer: Makes the optimizer that is stepped in place of SGD; `None` is SGD.
        gradient_clip: Largest norm of the gradient of a batch's loss; 0 is no limit.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    precision: Precision = "float32"
    momentum: float = 0.0
    weight_decay: float = 0.0
    optimizer: LocalOptimizer | None = None
    gradient_clip: float = 0.0


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


class LocalSgd:
    """SGD over one round: w <- w - learning_rate * gradient, in place, with what is added to it."""

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        settings: TrainingSettings,
        correction: RoundCorrection | None = None,
    ) -> None:
        """Begin a round.

        Args:
            task: Knows the loss.
            model: The model, in training mode and on the device of the batches, with `w_t`.
            settings: Learning rate, momentum, weight decay and precision.
            correction: Of the gradients, if any.
        """
        self._task = task
        self._model = model
        self._settings = settings
        self._correction = correction
        self._parameters: list[Tensor] = list(trained_parameters(model).values())
        self._velocity: list[Tensor] | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        if settings.optimizer is not None:
            self._optimizer = settings.optimizer(
                self._parameters, settings.learning_rate, settings.weight_decay
            )
        self.steps = 0

    def train_epoch(self, batches: Iterable[Batch], tally: Tally | None) -> None:
        """Run one step per batch.

        Args:
            batches: Of each step.
            tally: Where to add up the epoch's loss and metrics; `None` saves the time.

        Raises:
            ModelError: If what the model returns for the first batch of all is of no use.
        """
        task, low = self._task, self._settings.precision == "bfloat16"
        device = self._parameters[0].device.type
        for batch in batches:
            # Entered for each step: autocast keeps its copies of the weights until it is left.
            with torch.autocast(device, torch.bfloat16, enabled=low):
                outputs = task.outputs(self._model, batch)
                if self.steps == 0:
                    task.check_outputs(outputs, batch)
                loss = task.loss(outputs, batch)
            if self.steps == 0:
                check_loss(task, loss)
                check_gradient(task, loss)
            # Straight from the gradients to the weights: nothing to zero or to accumulate.
            gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
            with torch.no_grad():
                self._step(gradients)
                if tally is not None:
                    weight = task.weight(batch)
                    total = loss.double() * weight  # float16 ends at 65504
                    tally.add({**task.measure(outputs, batch), LOSS: (total, weight)})

    def _step(self, gradients: Sequence[Tensor | None]) -> None:
        self.steps += 1
        settings, correction = self._settings, self._correction
        if settings.gradient_clip:
            gradients = clipped(gradients, settings.gradient_clip)
        if self._optimizer is not None:
            self._step_torch(self._optimizer, gradients)
            return
        if correction is None and settings.momentum == 0 and settings.weight_decay == 0:
            used = [
                (p, g) for p, g in zip(self._parameters, gradients, strict=True) if g is not None
            ]
            torch._foreach_add_(*zip(*used, strict=True), alpha=-settings.learning_rate)
            return
        # What the loss does not depend on has gradient 0, and is corrected all the same.
        direction: Tensors = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(self._parameters, gradients, strict=True)
        ]
        if correction is not None:
            direction = correction.applied_to(direction, self._parameters)
        if settings.weight_decay:  # not in place: these may still be autograd's own tensors
            decay = settings.weight_decay
            direction = torch._foreach_add(direction, self._parameters, alpha=decay)
        if settings.momentum:
            direction = self._with_momentum(direction)
        torch._foreach_add_(self._parameters, direction, alpha=-settings.learning_rate)

    def _step_torch(
        self, optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor | None]
    ) -> None:
        """Let one of torch's optimizers step; what the loss does not depend on stays."""
        if self._correction is not None:
            filled = [
                torch.zeros_like(p) if g is None else g
                for p, g in zip(self._parameters, gradients, strict=True)
            ]
            gradients = list(self._correction.applied_to(filled, self._parameters))
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            # A copy: an optimizer may write into it, and autograd's may share their memory.
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step()
        for parameter in self._parameters:
            parameter.grad = None

    def _with_momentum(self, direction: Tensors) -> Tensors:
        if self._velocity is None:  # copied, since it is written to, and may be autograd's
            pairs = zip(self._parameters, direction, strict=True)
            self._velocity = [torch.empty_like(p).copy_(d) for p, d in pairs]
        else:
            torch._foreach_mul_(self._velocity, self._settings.momentum)
            torch._foreach_add_(self._velocity, direction)
        return self._velocity


# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


_KEPT, _LARGEST = 256 << 20, 1 << 30  # bytes


_LARGEST_OF_OLD = 32 << 20  # what older versions of glibc take at most


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let the C library keep up to 256 MiB of what was freed, for the rest of the process.

    A step takes and frees a few tensors of a megabyte. By default glibc gives these back to the
    system and gets them anew, empty, page by page: hundreds of page faults per step, which take
    a few per cent of the training of a small CNN.

    Returns:
        Whether the C library knows how; elsewhere nothing changes.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    reused = mallopt(_M_MMAP_THRESHOLD, _LARGEST) or mallopt(_M_MMAP_THRESHOLD, _LARGEST_OF_OLD)
    return bool(reused and mallopt(_M_TRIM_THRESHOLD, _KEPT))
