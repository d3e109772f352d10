"""The geometric median: the point that is nearest to all updates together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strategies.aggregation.base import Aggregator, check_same_form
from strategies.core.client_update import Arrays, ClientUpdate
from strategies.core.vectors import ravel, unravel


@dataclass(frozen=True)
class GeometricMedian(Aggregator):
    """Take the point with the least sum of distances to all updates, each counted once.

    Found by the smoothed Weiszfeld iteration from the coordinate median: each step is a mean in
    which an update weighs one over its distance, but never more than one over `smoothing` times
    the spread, the median distance at the start. The paper begins at the mean, which takes long to
    come back from where a liar has put it, and smooths by an absolute distance. At the end the
    update that is nearest is taken, if it is the better point.

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

    def without_effect(self, num_updates: int) -> str | None:
        """See `Aggregator`: between two points every point is as near to both together."""
        return "of two updates it is their mean" if num_updates == 2 else None

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate; see `weighted_mean` for arguments, result and errors."""
        check_same_form(updates)
        exact = np.stack([ravel(update.delta, np.float64) for update in updates])
        points, exponent = _in_range(exact)
        median = np.median(points, axis=0)
        distances = np.linalg.norm(points - median, axis=1)
        spread = float(np.median(distances))
        if spread == 0:  # most are at one point, which is the median then
            median = exact[np.argmin(distances)] if points is not exact else median
            return unravel(median, updates[0].delta)
        for _ in range(self.max_iterations):
            weights = 1 / np.maximum(distances, self.smoothing * spread)
            moved = weights @ points / weights.sum()
            step = float(np.linalg.norm(moved - median))
            median, distances = moved, np.linalg.norm(points - moved, axis=1)
            if step <= self.tolerance * spread:
                break
        # Towards an update the steps shorten before they arrive: that may be the median itself.
        nearest = points[np.argmin(distances)]
        # By more than round-off: between two points on a line all are equally good, and a tie that
        # round-off decides would not move with the updates.
        if np.linalg.norm(points - nearest, axis=1).sum() < distances.sum() * (1 - _ROUND_OFF):
            median = nearest
        return unravel(np.ldexp(median, exponent), updates[0].delta)


def _in_range(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Scale points by a power of two where float64 may not hold the squares of their distances.

    An update that is further out than 2**400 times most is put there, in its own direction, which
    is all that it adds to the median. Of float32 updates none is.

    Returns:
        The points, and the exponent of 2 to multiply a result with.
    """
    sizes = np.abs(points).max(axis=1, initial=0)
    exponents = np.frexp(sizes)[1].astype(np.int64)
    exponent = int(np.median(exponents[sizes > 0])) if sizes.any() else 0
    if np.abs(exponents).max() <= _RANGE:
        return points, 0
    shifts = -np.maximum(exponents - _RANGE, exponent)
    return np.ldexp(points, shifts[:, np.newaxis]), exponent


_RANGE = 400  # as an exponent of 2
_ROUND_OFF = 1e-12
