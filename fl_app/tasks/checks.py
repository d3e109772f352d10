"""Whether a task's model, loss and metrics can work, before anything is started with them."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fl_app.core.metrics import LOSS, LOSS_METRIC, Metric
from fl_app.data.tensor_dataset import Batch
from fl_app.tasks.tally import Measures, Tally
from fl_app.tasks.task import ModelError, Task

_TAKEN = ("num_examples", "num-examples", "round")
"""Names that stand beside the metrics in the results."""

_METRIC_NAME = re.compile(r"[^\s,=]+")
"""As `target` of the run config can name them."""


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
    check_metrics(task)
    training = model.training
    model.eval()
    try:
        task.check_model(model, batch)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            with _told(task, "model", batch):
                outputs = task.outputs(model, batch)
            task.check_outputs(outputs, batch)
            with _told(task, "loss", batch):
                loss = task.loss(outputs, batch)
            check_loss(task, loss)
            with _told(task, "weight", batch):
                check_weight(task, "weight", task.weight(batch))
            with _told(task, "measure", batch):
                measures = task.measure(outputs, batch)
            check_measures(task, measures)
            check_finish(task, measures)
    finally:
        model.train(training)


@contextmanager
def _told(task: Task, what: str, batch: Batch) -> Iterator[None]:
    """Say of a mistake in a task's code where it is, and on which batch it was made."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # a user's task may raise anything
        advice = ""
        if not isinstance(batch, tuple) and (as_for_tuples := _not_overridden(task)):
            advice = (
                f"; collate makes a {type(batch).__name__}, and not a tuple with the targets "
                f"last: override {' and '.join(as_for_tuples)} as well"
            )
        raise ModelError(
            f"the {what} of {_name(task)} fails on a batch of its data ({describe(batch)}): "
            f"{type(error).__name__}: {error}{advice}"
        ) from error


def _not_overridden(task: Task) -> list[str]:
    names = ("outputs", "weight")
    return [name for name in names if getattr(type(task), name) is getattr(Task, name)]


def check_metrics(task: Task) -> None:
    """Refuse metrics that are not named and described as the results need it.

    Raises:
        ModelError: Says which, and what to write.
    """
    metrics: object = task.metrics
    if not isinstance(metrics, Mapping):
        raise ModelError(
            f"metrics of {_name(task)} is a {type(metrics).__name__}; it must be a dict of Metric "
            'by name, for instance {"error": Metric("lower")}'
        )
    for name, metric in metrics.items():
        if not isinstance(metric, Metric) or metric.better not in ("higher", "lower"):
            raise ModelError(
                f"metrics of {_name(task)} has {metric!r} for {name!r}; it must be "
                'Metric("higher") or Metric("lower"), by which values are better'
            )
        if name == LOSS:
            raise ModelError(
                f"{LOSS!r} is among the metrics of {_name(task)}; every task has it anyway: take "
                "it out of `metrics`"
            )
        if name in _TAKEN or not isinstance(name, str) or not _METRIC_NAME.fullmatch(name):
            raise ModelError(
                f"metrics of {_name(task)} has the name {name!r}; take another, without spaces, "
                f"commas and =, and none of {', '.join(_TAKEN)}, which stand in the same rows"
            )


def check_weight(task: Task, of: str, weight: object) -> None:
    """Refuse a weight that a sum cannot be divided by.

    Raises:
        ModelError: Says what it is instead.
    """
    try:
        number = float(weight)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not 0 <= number < math.inf:
        found = describe(weight) if isinstance(weight, Tensor) and weight.ndim else weight
        raise ModelError(
            f"the {of} of {_name(task)} is {found}; it must be one number, 0 or more: the number "
            "of terms that are averaged"
        )


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
    for name, (_, weight) in measures.items():
        check_weight(task, f"weight of the metric {name}", weight)


def check_finish(task: Task, measures: Measures) -> None:
    """Refuse measures of which no number can be made.

    Raises:
        ModelError: Names the metric.
    """
    tally = Tally()
    tally.add(measures)
    for name, pair in tally.sums().items():
        metric = task.metrics.get(name, LOSS_METRIC)
        if metric.finish is None and pair.total.ndim:
            raise ModelError(
                f"the sum of the metric {name} of {_name(task)} has the shape "
                f"{list(pair.total.shape)}; give a single sum, or say in Metric(finish=...) how a "
                "number is made of it"
            )
        try:
            metric.value(pair)
        except Exception as error:  # a user's function may raise anything
            raise ModelError(
                f"finish of the metric {name} of {_name(task)} makes no number of a sum of shape "
                f"{list(pair.total.shape)} and the weight {pair.weight:g}: "
                f"{type(error).__name__}: {error}"
            ) from error


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
