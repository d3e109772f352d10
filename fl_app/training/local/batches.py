"""How many examples each step of local training takes."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fl_app.core.errors import ConfigError
from fl_app.data.tensor_dataset import BatchedExamples
from fl_app.tasks.task import Task


class BatchError(ConfigError):
    """A model that cannot be trained in batches of this size, or on so few examples."""


def batch_sizes(
    task: Task, model: nn.Module, examples: BatchedExamples, batch_size: int, device: torch.device
) -> list[int]:
    """Return how many examples each step of an epoch takes.

    All take `batch_size` but a short last one. Where that is a single example and a batch norm of
    the model cannot be trained on one (it has no variance), it goes with the batch before.

    Args:
        task: Knows how the model works on a batch.
        model: In training mode; its buffers and the random state are left as they were.
        examples: All that there are, at least one.
        batch_size: Examples per step.
        device: Where the model is.

    Raises:
        BatchError: If there is no batch before, or all batches are of one.
    """
    whole, rest = divmod(len(examples), batch_size)
    sizes = [batch_size] * whole + [rest] * (rest > 0)
    if sizes[-1] > 1 or _trains_on_one(task, model, examples, device):
        return sizes
    if len(examples) == 1:
        raise BatchError(
            "there is a single example to train on, and the model has a batch norm, which needs "
            "two at least; add examples, or take a model without, for instance with GroupNorm"
        )
    if batch_size == 1:
        raise BatchError(
            "run config: batch-size = 1, but the model has a batch norm, which needs batches of "
            "two at least; raise batch-size, or take a model without batch norm"
        )
    return [*sizes[:-2], batch_size + 1]


def _trains_on_one(
    task: Task, model: nn.Module, examples: BatchedExamples, device: torch.device
) -> bool:
    """Tell whether the model's batch norms, if it has any, take a batch of one example.

    They do where they have several values a channel: before the pixels have been flattened.
    """
    if not any(isinstance(part, _BatchNorm) and part.training for part in model.modules()):
        return True
    one = examples.select(torch.zeros(1, dtype=torch.int64))
    (batch,) = one.batches(None, [1], task.collate, device)
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            task.outputs(model, batch)
    except ValueError:
        return False
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
    return True
