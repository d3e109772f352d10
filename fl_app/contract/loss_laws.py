"""Laws of a task's loss and metrics: they are means and sums, exact over any batching."""

import math

import numpy as np

from fl_app.contract.trial import Measured, Trial, halves, trial_of
from fl_app.core.errors import UserError
from fl_app.core.metrics import LOSS, Sum, finished, merge
from fl_app.tasks.checks import check_task
from strategies.contract.comparisons import demand
from strategies.contract.laws import BrokenLawError, Build

_TOLERANCE = 1e-3
"""Relative; kernels sum in another order for another batch, and a model may be in 16 bits."""


def fits_its_data(build: Build, generator: np.random.Generator) -> None:
    """Before round 1 the same is looked at, with the same words."""
    trial = trial_of(build)
    try:
        check_task(trial.task, trial.model(), trial.batch(trial.some(generator, 4)))
    except UserError as error:
        raise BrokenLawError(str(error)) from error


def measures_what_it_names(build: Build, generator: np.random.Generator) -> None:
    """Every metric is measured, can be worked out, and is a number."""
    trial = trial_of(build)
    sums = trial.measured(trial.model(), trial.batch(trial.some(generator)))
    finished(trial.task.metrics, sums)


def has_metrics_that_merge(build: Build, generator: np.random.Generator) -> None:
    """Sums of two halves, or of single examples, add up to those of the whole."""
    trial = trial_of(build)
    _demand_merging(trial, generator, list(trial.task.metrics))


def has_a_loss_that_merges(build: Build, generator: np.random.Generator) -> None:
    """The loss of a batch is the mean of the losses of its parts, by their weights."""
    _demand_merging(trial_of(build), generator, [LOSS])


def has_a_loss_that_is_a_mean(build: Build, generator: np.random.Generator) -> None:
    """A batch made of another one twice has the same loss, and twice the weight."""
    trial = trial_of(build)
    examples, model = trial.some(generator), trial.model()
    twice = [*range(len(examples)), *range(len(examples))]
    one, two = (trial.measured(model, trial.batch(examples, o))[LOSS] for o in (None, twice))
    demand(
        math.isclose(2 * one.weight, two.weight),
        f"weight of a batch is {one.weight:g}, and {two.weight:g} of the same one twice; it must "
        "be twice as much: the number of terms of the mean",
    )
    first, second = one.total / one.weight, two.total / two.weight
    demand(
        bool(np.isclose(first, second, rtol=_TOLERANCE)),
        f"the loss of a batch is {first:g}, and {second:g} of the same one twice; it must be a "
        "mean: divide by the number of terms, that of `weight`",
    )


def _demand_merging(trial: Trial, generator: np.random.Generator, names: list[str]) -> None:
    examples, model = trial.some(generator), trial.model()
    count = len(examples)
    whole = trial.measured(model, trial.batch(examples))
    for sizes in (halves(count), [1] * count):
        parts = merge(trial.measured(model, b) for b in trial.batches(examples, sizes))
        for name in names:
            _demand_equal(name, whole, parts, len(sizes))


def _demand_equal(name: str, whole: Measured, parts: Measured, number: int) -> None:
    one, other = whole[name], parts[name]
    why = "its weight is not that of `weight`, or it is no mean" if name == LOSS else _WHY
    demand(
        bool(np.isclose(one.weight, other.weight, rtol=_TOLERANCE))
        and bool(np.allclose(one.total, other.total, rtol=_TOLERANCE, atol=1e-4)),
        f"of a whole batch {name} is {_shown(one)}, of the same in {number} parts together "
        f"{_shown(other)}; {why}, or the model's answer for an example depends on the others in "
        "its batch, for instance on how far they are padded",
    )


_WHY = "measure must give a sum and what it is divided by, not a mean"


def _shown(pair: Sum) -> str:
    total = f"{float(pair.total):g}" if pair.total.ndim == 0 else f"an array ({pair.total.sum():g})"
    return f"{total} / {pair.weight:g}"
