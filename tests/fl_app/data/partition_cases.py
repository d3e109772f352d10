"""Labels to divide, and what every division has to be."""

import numpy as np

from fl_app.data.partition import (
    PartitionSpec,
)

LABELS = np.random.default_rng(0).integers(0, 10, 2000)


TEST_LABELS = np.random.default_rng(1).integers(0, 10, 500)


def spec(name: str, n: int = 10, seed: int = 3, **settings: float) -> PartitionSpec:
    return PartitionSpec(name, n, seed, **settings)  # type: ignore[arg-type]


def assert_divides(parts: list[np.ndarray], size: int) -> None:
    joined = np.concatenate(parts)
    assert len(joined) == size
    assert np.array_equal(np.sort(joined), np.arange(size))
    assert all(part.dtype == np.int64 and np.all(np.diff(part) > 0) for part in parts)
