"""Whether a task's model, loss and metrics can work, before anything is started with them."""

import torch
from torch import Tensor, nn

from fl_app.core.metrics import LOSS
from fl_app.data.tensor_dataset import Batch
from fl_app.tasks.task import ModelError, Task


def check_task(task: Task, model: nn.Module, batch: Batch) -> None:
    """Let a model work on a batch, and refuse what cannot be trained or measured.

    Args:
        task: The task.
        model: With its initial weights, on the CPU; its mode is left as it was, and so is the
            global random state.
        batch: A few examples.

    Raises:
        ModelError: Says what is wrong and what to change.
    """
    training = model.training
    model.eval()
    try:
        task.check_model(model, batch)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            try:
                outputs = task.outputs(model, batch)
            except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
                raise ModelError(
                    f"the model of {_name(task)} fails on a batch of its data ({describe(batch)}): "
                    f"{type(error).__name__}: {error}"
                ) from error
            task.check_outputs(outputs, batch)
            try:
                loss = task.loss(outputs, batch)
            except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
                raise ModelError(
                    f"the loss of {_name(task)} fails on a batch of its data ({describe(batch)}): "
                    f"{type(error).__name__}: {error}"
                ) from error
            check_loss(task, loss)
            check_measures(task, task.measure(outputs, batch))
    finally:
        model.train(training)


def check_loss(task: Task, loss: object) -> None:
    """Refuse a loss that is not one number of a floating dtype.

    Raises:
        ModelError: Says what it is instead.
    """
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.is_floating_point():
        return
    found = f"a {type(loss).__name__}"
    if isinstance(loss, Tensor):
        found = f"a tensor of {loss.dtype} and shape {list(loss.shape)}"
    raise ModelError(
        f"the loss of {_name(task)} is {found}; it must be a tensor of one floating-point number, "
        "the mean over the batch"
    )


def check_gradient(task: Task, loss: Tensor) -> None:
    """Refuse a loss from which no gradient leads to a parameter.

    Raises:
        ModelError: Says what to look for.
    """
    if not loss.requires_grad:
        raise ModelError(
            f"the loss of {_name(task)} depends on none of the model's trained parameters; look "
            "for detach(), torch.no_grad() or a conversion to NumPy in its forward"
        )


def check_measures(task: Task, measures: object) -> None:
    """Refuse measures that are not the task's metrics.

    Raises:
        ModelError: Names what is missing or too much.
    """
    if not isinstance(measures, dict) or not all(
        isinstance(pair, tuple) and len(pair) == 2 for pair in measures.values()
    ):
        raise ModelError(
            f"measure of {_name(task)} gave a {type(measures).__name__}; it must give a dict of "
            'pairs (sum, weight) by name, for instance {"accuracy": (correct.sum(), len(correct))}'
        )
    known = set(task.metrics)
    if set(measures) - {LOSS} != known:
        raise ModelError(
            f"measure of {_name(task)} gave {sorted(measures)}, but its metrics are "
            f"{sorted(known)}; let it give a pair (sum, weight) for each of them"
        )


def describe(batch: Batch) -> str:
    """Say what a batch is made of."""
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {list(batch.shape)}"
    if isinstance(batch, dict):
        return ", ".join(f"{key}: {describe(value)}" for key, value in batch.items())
    if isinstance(batch, tuple | list):
        return ", ".join(map(describe, batch))
    return type(batch).__name__


def _name(task: Task) -> str:
    return f"the task {type(task).__name__}"
