"""Aggregators that stand a minority of participants that lie.

An attacker may claim any number of examples, so these count every participant once. What each
does about which attack is in the README's table, from `scripts/robustness`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from flwr.server.strategy.aggregate import (
    aggregate_krum,
    aggregate_median,
    aggregate_trimmed_avg,
)
from numpy.typing import NDArray

from strategies.aggregators import check_same_form, weighted_mean
from strategies.updates import AggregationError, Arrays, ClientUpdate


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
    return _by_layer(updates, aggregate_median)


@dataclass(frozen=True)
class TrimmedMean:
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

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; see `coordinate_median` for arguments, result and errors."""
        check_same_form(updates)
        trimmed = partial(aggregate_trimmed_avg, proportiontocut=self.trim_fraction)
        return _by_layer(updates, trimmed)


@dataclass(frozen=True)
class Krum:
    """Take the one update that is nearest to its n - f - 2 nearest neighbours.

    Attributes:
        num_malicious: f, the most participants that may lie; at least 2 f + 3 are needed.

    Source: Blanchard et al., NeurIPS 2017, arXiv:1703.02757.
    """

    num_malicious: int = 1

    def __post_init__(self) -> None:
        _check_num_malicious(self.num_malicious)

    @property
    def least_updates(self) -> int:
        """The fewest updates that it is defined for."""
        return 2 * self.num_malicious + 3

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; see `coordinate_median` for arguments and result.

        Raises:
            AggregationError: If there are fewer than 2 f + 3 updates, or they differ in form.
        """
        _check_enough(updates, self.least_updates, self.num_malicious)
        (vector,) = aggregate_krum(_vectors(updates), self.num_malicious, 0)
        return _from_vector(vector, updates[0].delta)


@dataclass(frozen=True)
class MultiKrum:
    """Average the updates with the best Krum scores, each counted once.

    Attributes:
        num_malicious: f, the most participants that may lie; at least 2 f + 3 are needed.
        num_selected: How many are averaged; 0 takes n - f, as is usual. The paper's proof
            covers fewer than n - 2 f - 2.

    Source: Blanchard et al., NeurIPS 2017, arXiv:1703.02757, section 4.
    """

    num_malicious: int = 1
    num_selected: int = 0

    def __post_init__(self) -> None:
        _check_num_malicious(self.num_malicious)
        if self.num_selected < 0:
            raise ValueError(f"num_selected = {self.num_selected} must not be negative")

    @property
    def least_updates(self) -> int:
        """The fewest updates that it is defined for."""
        return max(2 * self.num_malicious + 3, self.num_selected)

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; see `Krum` for arguments, result and errors."""
        _check_enough(updates, self.least_updates, self.num_malicious)
        selected = self.num_selected or len(updates) - self.num_malicious
        (vector,) = aggregate_krum(_vectors(updates), self.num_malicious, selected)
        return _from_vector(vector, updates[0].delta)


@dataclass(frozen=True)
class NormClippedMean:
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
        norms = [_norm(update.delta) for update in updates]
        bound = self.max_norm or float(np.median(norms))
        clipped = []
        for update, norm in zip(updates, norms, strict=True):
            factor = min(1.0, bound / norm) if norm > 0 else 1.0
            delta = [d * np.asarray(factor, d.dtype) for d in update.delta]
            count = update.num_examples if self.weighted else 1
            clipped.append(replace(update, delta=delta, num_examples=count))
        return weighted_mean(clipped)


@dataclass(frozen=True)
class GeometricMedian:
    """Take the point with the least sum of distances to all updates, each counted once.

    Found by the smoothed Weiszfeld iteration from the coordinate median: each step is a mean in
    which an update weighs one over its distance, but never more than one over `smoothing` times
    the spread, the median distance at the start. The paper begins at the mean, which takes long to
    come back from where a liar has put it, and smooths by an absolute distance.

    Attributes:
        max_iterations: After so many the point is taken as it is.
        tolerance: It is also taken once a step is shorter than this, times the spread.
        smoothing: See above.

    Source: Pillutla et al., 2019, arXiv:1912.13445 (RFA), algorithm 2.
    """

    max_iterations: int = 50
    tolerance: float = 1e-5
    smoothing: float = 1e-6

    def __post_init__(self) -> None:
        if self.max_iterations < 1 or self.tolerance <= 0 or self.smoothing <= 0:
            raise ValueError(
                f"max_iterations = {self.max_iterations} must be at least 1, tolerance = "
                f"{self.tolerance} and smoothing = {self.smoothing} more than 0"
            )

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; see `coordinate_median` for arguments, result and errors."""
        check_same_form(updates)
        points = np.stack([_vector(update.delta) for update in updates])
        median = np.median(points, axis=0)
        distances = np.linalg.norm(points - median, axis=1)
        spread = float(np.median(distances))
        if spread == 0:  # most are at one point, which is the median then
            return _from_vector(median, updates[0].delta)
        for _ in range(self.max_iterations):
            weights = 1 / np.maximum(distances, self.smoothing * spread)
            moved = weights @ points / weights.sum()
            step = float(np.linalg.norm(moved - median))
            median, distances = moved, np.linalg.norm(points - moved, axis=1)
            if step <= self.tolerance * spread:
                break
        return _from_vector(median, updates[0].delta)


Results = list[tuple[Arrays, int]]
"""The form that flwr's arithmetic takes: arrays and a number of examples, here always 1."""


def _by_layer(updates: Sequence[ClientUpdate], aggregate: Callable[[Results], Arrays]) -> Arrays:
    """Aggregate one parameter after the other, in float64, and round once."""
    deltas = []
    for layer in zip(*(update.delta for update in updates), strict=True):
        (value,) = aggregate([([array.astype(np.float64)], 1) for array in layer])
        deltas.append(np.asarray(value, layer[0].dtype))
    return deltas


def _vectors(updates: Sequence[ClientUpdate]) -> Results:
    return [([_vector(update.delta)], 1) for update in updates]


def _check_num_malicious(num_malicious: int) -> None:
    if num_malicious < 0:
        raise ValueError(f"num_malicious = {num_malicious} must not be negative")


def _check_enough(updates: Sequence[ClientUpdate], least: int, num_malicious: int) -> None:
    check_same_form(updates)
    if len(updates) < least:
        raise AggregationError(
            f"{len(updates)} updates are too few for num_malicious = {num_malicious}, "
            f"{least} are needed"
        )


def _norm(delta: Arrays) -> float:
    return math.sqrt(sum(float(np.sum(np.square(d, dtype=np.float64))) for d in delta))


def _vector(delta: Arrays) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *(d.ravel() for d in delta)])


def _from_vector(vector: NDArray[np.float64], like: Arrays) -> Arrays:
    ends = np.cumsum([d.size for d in like], dtype=np.intp)
    parts = np.split(vector, ends)[:-1]
    return [part.reshape(d.shape).astype(d.dtype) for part, d in zip(parts, like, strict=True)]
