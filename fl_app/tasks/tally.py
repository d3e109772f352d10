"""Adds up what a task measures, batch by batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_app.core.metrics import Sum

Measures = Mapping[str, tuple[Any, Any]]
"""What a task measures in a batch: by name a sum, a number or tensor, and a weight."""


def loss_sum(loss: Tensor, weight: int | Tensor) -> tuple[Tensor, int | Tensor]:
    """Make a sum of a batch's mean loss, with its weight.

    The sum is float64, since that of a float16 loss may be beyond the end of float16. Of a batch
    without a term, such as one of padding alone, the mean is NaN, and the sum 0.
    """
    total = loss.detach().double() * weight
    if isinstance(weight, Tensor):
        total = torch.where(weight > 0, total, 0.0)
    return total, weight


class Tally:
    """Adds up what a task measures, on the device: nothing waits for it."""

    def __init__(self) -> None:
        self._totals: dict[str, Any] = {}
        self._weights: dict[str, Any] = {}

    def add(self, measures: Measures) -> None:
        """Add one batch."""
        for name, (total, weight) in measures.items():
            self._totals[name] = _wide(total) + self._totals.get(name, 0)
            self._weights[name] = _wide(weight) + self._weights.get(name, 0)

    def sums(self) -> dict[str, Sum]:
        """Return what has been added so far."""
        return {
            name: Sum(np.asarray(_as_numpy(total), np.float64), float(self._weights[name]))
            for name, total in self._totals.items()
        }


def _wide(value: Any) -> Any:  # noqa: ANN401 - a number or a tensor
    """Return a tensor of 64 bits, so that it can be added to many."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach()
    return value.to(torch.float64 if value.is_floating_point() else torch.int64)


def _as_numpy(value: Any) -> Any:  # noqa: ANN401
    return value.cpu().numpy() if isinstance(value, Tensor) else value
