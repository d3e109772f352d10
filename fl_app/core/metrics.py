"""Metrics as sums that can be merged: exact over any batching, and over all participants.

A task measures a batch as pairs `(sum, weight)` by name. The sums and weights of batches are added,
those of participants likewise, and only then is the metric worked out: an accuracy is the number
right over the number of examples, whoever holds them. A sum may be an array: the area under a ROC
curve comes of two histograms of scores, which add up like numbers.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LOSS = "loss"
"""The name of what is minimised, which every task has."""

_LARGEST_SUM = 1 << 20
"""Numbers that a sum may have; what a participant sends is not believed to be larger."""

_LONGEST_TEXT = 1 << 26
"""Characters that a participant's sums may take together."""

_LARGEST_WEIGHT = 2.0**53
"""Up to here float64 counts exactly."""

_NAME_SHOWN = 40  # characters


@dataclass(frozen=True)
class Metric:
    """What a metric's numbers mean.

    Attributes:
        better: Whether `higher` or `lower` values are better.
        percent: Whether it is a share, shown in per cent.
        finish: From a summed array (float64, of the shape that the task measures) and its weight
            to the value; by default the sum over the weight.
    """

    better: Literal["higher", "lower"]
    percent: bool = False
    finish: Callable[[NDArray[np.float64], float], float] | None = None

    def value(self, pair: "Sum") -> float:
        """Work the metric out; NaN where nothing has been measured."""
        if pair.weight == 0:
            return math.nan
        if self.finish is None:
            return float(pair.total.item()) / pair.weight  # ValueError for several numbers
        return float(self.finish(pair.total, pair.weight))

    def gain(self, new: float, old: float) -> float:
        """Return by how much `new` is better than `old`; negative if it is worse."""
        return new - old if self.better == "higher" else old - new

    def show(self, value: float) -> str:
        """Write a value for a person."""
        return f"{value:.2%}" if self.percent else f"{value:.4f}"


LOSS_METRIC = Metric("lower")

ACCURACY = Metric("higher", percent=True)


@dataclass(frozen=True, eq=False)
class Sum:
    """A metric over some examples, before it is worked out.

    Attributes:
        total: float64; a number, or an array.
        weight: What the total is divided by, mostly a number of examples; not negative.
    """

    total: NDArray[np.float64]
    weight: float


Sums = Mapping[str, Sum]


def finished(metrics: Mapping[str, Metric], sums: Sums) -> dict[str, float]:
    """Work out every metric of which there is a sum; the loss last."""
    known = {**metrics, LOSS: LOSS_METRIC}
    return {name: metric.value(sums[name]) for name, metric in known.items() if name in sums}


def merge(many: Iterable[Sums]) -> dict[str, Sum]:
    """Add up the sums of several batches or participants, in their order.

    Raises:
        ValueError: If two sums of one name differ in shape.
    """
    merged: dict[str, Sum] = {}
    for sums in many:
        for name, new in sums.items():
            old = merged.get(name)
            if old is not None and old.total.shape != new.total.shape:
                raise ValueError(
                    f"{name} has the shape {list(new.total.shape)}, and {list(old.total.shape)} "
                    "elsewhere"
                )
            merged[name] = (
                new if old is None else Sum(old.total + new.total, old.weight + new.weight)
            )
    return merged


def encode(sums: Sums) -> str:
    """Write sums as a text, to the last bit."""
    return json.dumps({name: [s.total.tolist(), s.weight] for name, s in sums.items()})


def decode(text: object) -> dict[str, Sum]:
    """Undo `encode`.

    Raises:
        ValueError: If the text is not one, or is longer than any participant's should be; or a
            weight is negative, not finite, or larger than a count can be.
        RecursionError: If it is nested too deeply.
    """
    sums = {}
    if not isinstance(text, str):
        raise ValueError(f"measures are {type(text).__name__}, not a text")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"measures have {len(text)} characters, more than {_LONGEST_TEXT}")
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("measures are no JSON object")
    for name, pair in content.items():
        try:
            total, weight = np.asarray(pair[0], np.float64), float(pair[1])
        except (TypeError, LookupError, ValueError, OverflowError) as error:
            shown = f"{name[:_NAME_SHOWN]!r} cannot be read: {type(error).__name__}"
            raise ValueError(f"the measure {shown}") from error
        if total.size > _LARGEST_SUM or not 0 <= weight <= _LARGEST_WEIGHT:
            shown = f"{name[:_NAME_SHOWN]!r} has the weight {weight} for {total.size} values"
            raise ValueError(f"the measure {shown}")
        sums[name] = Sum(total, weight)
    return sums
