"""The division into training and test examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_app.core.errors import ConfigError
from fl_app.data.packaged.fixed_split import check_fold, fixed_split


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 5))
def test_every_example_is_in_the_test_set_of_one_fold(strata, folds):
    tests = []
    for fold in range(folds):
        train, test = fixed_split(strata, folds, fold)
        assert sorted([*train, *test]) == list(range(len(strata)))
        tests += test.tolist()

    assert sorted(tests) == list(range(len(strata)))


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(0, 3))
def test_every_stratum_is_divided_by_its_share(strata, fold):
    _, test = fixed_split(strata, 4, fold)

    for name in set(strata):
        count, held_out = strata.count(name), sum(strata[row] == name for row in test)
        assert held_out in (count // 4, -(-count // 4))


def test_the_rows_held_out_are_the_same_in_every_release():
    _, test = fixed_split(["a"] * 12 + ["b"] * 4, 4, 1)

    assert test.tolist() == EXPECTED
    np.random.seed(1)
    assert fixed_split(["a"] * 12 + ["b"] * 4, 4, 1)[1].tolist() == EXPECTED


@pytest.mark.parametrize("fold", [-1, 4])
def test_a_fold_that_there_is_not_is_refused(fold):
    with pytest.raises(ConfigError, match=f"fold = {fold} must be 0 to 3"):
        check_fold(fold, 4)


EXPECTED = [0, 1, 7, 15]
