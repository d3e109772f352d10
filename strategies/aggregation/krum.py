"""Krum and Multi-Krum: whoever has the nearest neighbours is believed, and counted once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from strategies.aggregation.base import Aggregator, check_same_form
from strategies.aggregation.flower_arithmetic import aggregate_krum
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate
from strategies.core.vectors import euclidean_norm, ravel, unravel


@dataclass(frozen=True)
class Krum(Aggregator):
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
        """Aggregate; see `weighted_mean` for arguments and result.

        Raises:
            AggregationError: If there are fewer than 2 f + 3 updates, or they differ in form.
        """
        _check_enough(updates, self.least_updates, self.num_malicious)
        return _aggregate(updates, self.num_malicious, 0)


@dataclass(frozen=True)
class MultiKrum(Aggregator):
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

    def without_effect(self, num_updates: int) -> str | None:
        """See `Aggregator`: it does nothing where it selects all updates."""
        selected = self.num_selected or num_updates - self.num_malicious
        if selected < num_updates:
            return None
        return f"it selects {selected} of {num_updates} updates, and so leaves out none"

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; see `Krum` for arguments, result and errors."""
        _check_enough(updates, self.least_updates, self.num_malicious)
        selected = self.num_selected or len(updates) - self.num_malicious
        return _aggregate(updates, self.num_malicious, selected)


def _aggregate(updates: Sequence[ClientUpdate], num_malicious: int, selected: int) -> Arrays:
    if any(array.dtype == np.float64 for update in updates for array in update.delta):
        return _aggregate_doubles(updates, num_malicious, selected)
    results = [([ravel(update.delta, np.float64)], 1) for update in updates]
    (point,) = aggregate_krum(results, num_malicious, selected)
    return unravel(point, updates[0].delta)


def _aggregate_doubles(
    updates: Sequence[ClientUpdate], num_malicious: int, selected: int
) -> Arrays:
    """Do so where float64 may not hold the squares of the distances that scores are made of.

    The root of a score puts the updates in the same order.
    """
    points = [ravel(update.delta, np.float64) for update in updates]
    largest = max(float(np.abs(point).max(initial=0)) for point in points)
    if largest > _LARGE:  # else a difference may not fit, either
        points = [point * _SMALLER for point in points]
    distances = np.array([[euclidean_norm([p - q]) for q in points] for p in points])
    num_closest = max(1, len(points) - num_malicious - 2)
    closest = np.sort(distances, axis=1)[:, 1 : num_closest + 1]  # without the update itself
    best = np.argsort([euclidean_norm([own]) for own in closest], kind="stable")
    return weighted_mean([replace(updates[i], num_examples=1) for i in best[: max(1, selected)]])


_LARGE, _SMALLER = 2.0**900, 2.0**-100


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
