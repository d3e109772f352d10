"""Aggregators that stand a minority of participants that lie, one coordinate or norm at a time.

An attacker may claim any number of examples, so these count every participant once. Those that
compare whole updates are in `strategies.aggregation.krum` and
`strategies.aggregation.geometric_median`. What each does about which attack is in docs/studies.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.aggregation.base import Aggregator, check_same_form
from strategies.aggregation.compensated_sum import CompensatedSum
from strategies.aggregation.flower_arithmetic import aggregate_median, aggregate_trimmed_avg
from strategies.aggregation.weighted_mean import WeightedSum
from strategies.core.client_update import Arrays, ClientUpdate
from strategies.core.vectors import euclidean_norm


def coordinate_median(updates: Sequence[ClientUpdate]) -> Arrays:
    """Take the median of each coordinate; the mean of the middle two for an even number.

    Args:
        updates: Checked updates, all shaped like the model.

    Returns:
        One array per parameter, in model order, with the dtypes of the updates.

    Raises:
        AggregationError: If `updates` is empty, or their arrays differ in number or shape.

    Source: Yin et al., ICML 2018, arXiv:1803.01498.
    """
    check_same_form(updates)
    return _by_layer(updates, aggregate_median, (len(updates) - 1) // 2)


@dataclass(frozen=True)
class TrimmedMean(Aggregator):
    """Average each coordinate after dropping its extremes.

    Of n updates, the floor(trim_fraction * n) lowest and highest values of a coordinate are
    dropped.

    Attributes:
        trim_fraction: Share cut at each end, in [0, 0.5).

    Source: Yin et al., ICML 2018, arXiv:1803.01498.
    """

    trim_fraction: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.trim_fraction < 0.5:
            raise ValueError(f"trim_fraction = {self.trim_fraction} must be in [0, 0.5)")

    def without_effect(self, num_updates: int) -> str | None:
        """See `Aggregator`: it does nothing where it cuts off less than one update."""
        if int(self.trim_fraction * num_updates) > 0:
            return None
        return f"trim_fraction = {self.trim_fraction} of {num_updates} updates cuts off none"

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; see `coordinate_median` for arguments, result and errors."""
        check_same_form(updates)
        trimmed = partial(aggregate_trimmed_avg, proportiontocut=self.trim_fraction)
        return _by_layer(updates, trimmed, int(self.trim_fraction * len(updates)))


@dataclass(frozen=True)
class NormClippedMean(Aggregator):
    """Scale down every delta that is longer than `max_norm`, then average, each counted once.

    Bounds how far one participant can move the model, whatever it sends.

    Attributes:
        max_norm: The longest delta, in Euclidean norm over all parameters; 0 takes the
            round's median norm.
        weighted: Whether to weigh by examples, which an attacker may inflate.

    Source: Sun et al., 2019, arXiv:1911.07963.
    """

    max_norm: float = 0.0
    weighted: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.max_norm < math.inf:
            raise ValueError(f"max_norm = {self.max_norm} must be a number that is not negative")

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; see `coordinate_median` for arguments, result and errors."""
        check_same_form(updates)
        norms = [euclidean_norm(update.delta) for update in updates]
        bound = self.max_norm or _median(norms)
        total = WeightedSum(held=len(updates) + 1)
        for update, norm in zip(updates, norms, strict=True):
            counted = update if self.weighted else replace(update, num_examples=1)
            # Without a factor of 1, the number of examples stays a whole number.
            weight = counted.num_examples * (bound / norm) if norm > bound else None
            total.add(counted, weight)
        return total.result()


def _median(norms: Sequence[float]) -> float:
    """Return the median; of two in the middle the mean, without their sum, which may overflow."""
    ordered = sorted(norms)
    lower, upper = ordered[(len(norms) - 1) // 2], ordered[len(norms) // 2]
    return lower if lower == upper else lower / 2 + upper / 2


Results = list[tuple[Arrays, int]]
"""The form that flwr's arithmetic takes: arrays and a number of examples, here always 1."""


def _by_layer(
    updates: Sequence[ClientUpdate], aggregate: Callable[[Results], Arrays], num_cut: int
) -> Arrays:
    """Aggregate one parameter after the other, in float64 or more, and round once.

    Args:
        updates: The updates.
        aggregate: Flower's function.
        num_cut: How many values it leaves out at each end, before it averages the others.
    """
    deltas = []
    for layer in zip(*(update.delta for update in updates), strict=True):
        if layer[0].dtype == np.float64:
            deltas.append(_mean_of_middle(layer, num_cut))
            continue
        (value,) = aggregate([([array.astype(np.float64)], 1) for array in layer])
        deltas.append(np.asarray(value, layer[0].dtype))
    return deltas


def _mean_of_middle(layer: Sequence[NDArray[Any]], num_cut: int) -> NDArray[Any]:
    """Average what is left of each coordinate, rounded once: for updates of float64."""
    left = np.sort(np.stack(layer), axis=0)[num_cut : len(layer) - num_cut]
    total = CompensatedSum(layer[0].size)
    for values in left:
        total.add(values, 1)
    return total.quotient(len(left)).reshape(layer[0].shape)
