import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.core.finite import all_finite, num_not_finite
from strategies.native import sum_kernels

# The bits of each: quiet and signalling NaN, of both signs, and the infinities.
NOT_FINITE = [0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000]
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1000]

bits_of_any_float = st.one_of(
    st.integers(0, 2**32 - 1), st.sampled_from([*NOT_FINITE, 0x7F7FFFFF, 0xFF7FFFFF])
)


def float32_of(bits: int) -> float:
    return np.array([bits], np.uint32).view(np.float32)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_value_that_is_not_finite_is_counted(bad, order):
    array = np.zeros((70, 30), np.float32, order=order)
    array[3, 4] = array[69, 29] = bad

    assert num_not_finite(array) == 2


def test_infinities_do_not_cancel():
    assert num_not_finite(np.array([np.inf, -np.inf, 0], np.float32)) == 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_largest_values_are_finite(kernel, dtype):
    largest = np.full((5, 5), np.finfo(dtype).max, dtype)

    assert num_not_finite(largest) == 0
    assert all_finite([largest, -largest])


@pytest.mark.parametrize("array", [np.float32(3), np.zeros((0, 3)), np.arange(4), np.ones(3, bool)])
def test_scalars_empty_arrays_and_whole_numbers_are_finite(kernel, array):
    assert num_not_finite(np.asarray(array)) == 0
    assert all_finite([np.asarray(array)])


def test_no_arrays_are_finite(kernel):
    assert all_finite([])


@pytest.mark.parametrize("bits", NOT_FINITE)
@pytest.mark.parametrize("size", SIZES)
def test_one_value_that_is_not_finite_is_seen_wherever_it_is(kernel, size, bits):
    array = np.ones(size, np.float32)
    for place in range(size):
        array[place] = float32_of(bits)
        assert not all_finite([array])
        array[place] = 1
    assert all_finite([array])


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_every_array_is_looked_at(kernel, which):
    arrays = [np.zeros((3, 5), "f4"), np.zeros((), "f4"), np.zeros(70, "f4"), np.zeros(1, "f4")]
    arrays[which].flat[-1] = np.nan

    assert not all_finite([np.zeros((0, 4), np.float32), *arrays])


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38]
)
def test_zeros_subnormal_and_extreme_values_are_finite(kernel, value):
    assert all_finite([np.full(67, value, np.float32)])


@pytest.mark.skipif(sum_kernels.load() is None, reason="there is no C compiler")
@given(hnp.arrays(np.uint32, st.integers(0, 40), elements=bits_of_any_float))
def test_compiled_and_numpy_agree_on_any_bits(bits):
    array = bits.view(np.float32)
    kernels = sum_kernels.load()
    assert kernels is not None

    assert kernels.all_finite([array]) == bool(np.isfinite(array).all())
    assert num_not_finite(array) == np.count_nonzero(~np.isfinite(array))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a: a.astype(np.float64), id="float64"),
        pytest.param(lambda a: a.astype(np.float16), id="float16"),
        pytest.param(lambda a: a.astype(">f4"), id="the other byte order"),
        pytest.param(np.asfortranarray, id="another layout"),
        pytest.param(lambda a: np.repeat(a, 2, axis=1)[:, ::2], id="every other value"),
        pytest.param(
            lambda a: np.frombuffer(b"?" + a.tobytes(), "f4", offset=1).reshape(a.shape),
            id="unaligned",
        ),
    ],
)
def test_what_the_kernel_does_not_know_is_looked_at_all_the_same(kernel, change):
    array = np.ones((9, 7), np.float32)
    assert all_finite([change(array)])

    array[8, 6] = np.inf

    assert not all_finite([change(array)])


def test_values_that_are_not_in_the_array_are_not_looked_at(kernel):
    array = np.full((6, 6), np.nan, np.float32)
    array[:, ::2] = 1

    assert all_finite([array[:, ::2]])
    assert not all_finite([array[:, 1::2]])


def test_an_array_that_may_not_be_written_to_is_looked_at(kernel):
    array = np.frombuffer(np.array([1, 2, np.nan], np.float32).tobytes(), np.float32)

    assert not all_finite([array])
    assert all_finite([array[:2]])
