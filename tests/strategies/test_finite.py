import numpy as np
import pytest

from strategies.finite import num_not_finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_value_that_is_not_finite_is_counted(bad, order):
    array = np.zeros((70, 30), np.float32, order=order)
    array[3, 4] = array[69, 29] = bad

    assert num_not_finite(array) == 2


def test_infinities_do_not_cancel():
    assert num_not_finite(np.array([np.inf, -np.inf, 0], np.float32)) == 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_largest_values_are_finite(dtype):
    assert num_not_finite(np.full((5, 5), np.finfo(dtype).max, dtype)) == 0


@pytest.mark.parametrize("array", [np.float32(3), np.zeros((0, 3)), np.arange(4), np.ones(3, bool)])
def test_scalars_empty_arrays_and_whole_numbers_are_finite(array):
    assert num_not_finite(np.asarray(array)) == 0
