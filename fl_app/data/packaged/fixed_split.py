"""A division into training and test examples that is the same in every run."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SEED = 2026  # of the permutation; not the run's seed


def fixed_split(
    strata: Sequence[str], test_share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out a share of every stratum, whatever the run's seed.

    Of a stratum with m examples round(m * test_share) are for the test, ties to even. Which ones
    depends on the stratum's size and its place among the sorted names.

    Args:
        strata: The stratum of each example, [N]; mostly its owner, or its owner and class.
        test_share: In [0, 1).

    Returns:
        Ascending positions of the training and of the test examples, int64.
    """
    names, stratum = np.unique(np.asarray(strata), return_inverse=True)
    is_test = np.zeros(len(strata), bool)
    for index in range(len(names)):
        members = np.flatnonzero(stratum == index)
        order = np.random.default_rng((_SEED, index)).permutation(members)
        is_test[order[: round(len(members) * test_share)]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
