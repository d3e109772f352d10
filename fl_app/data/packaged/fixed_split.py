"""A division into training and test examples that is the same in every run."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fl_app.core.errors import ConfigError

_SEED = 2026  # of the permutation; not the run's seed


def fixed_split(
    strata: Sequence[str], folds: int, fold: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out one of several equal parts of every stratum, whatever the run's seed.

    A stratum of m examples is permuted, and each `folds`-th example from position `fold` on is for
    the test: m / folds of them, rounded up or down. Every example is in the test set of one fold.
    The permutation depends on m and the stratum's place among the sorted names.

    Args:
        strata: The stratum of each example, [N]; mostly its owner, or its owner and class.
        folds: How many parts there are.
        fold: Which of them is held out, from 0.

    Returns:
        Ascending positions of the training and of the test examples, int64.
    """
    names, stratum = np.unique(np.asarray(strata), return_inverse=True)
    is_test = np.zeros(len(strata), bool)
    for index in range(len(names)):
        members = np.flatnonzero(stratum == index)
        order = np.random.default_rng((_SEED, index)).permutation(members)
        is_test[order[fold::folds]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def check_fold(fold: int, folds: int) -> None:
    """Refuse a fold that there is not.

    Raises:
        ConfigError: Says which there are.
    """
    if not 0 <= fold < folds:
        raise ConfigError(f"run config: task: fold = {fold} must be 0 to {folds - 1}")
