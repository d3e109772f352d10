import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from strategies.core.vectors import euclidean_norm
from strategies.privacy.clipping import UNPROTECTED, Protection, add_noise, clip
from strategies.privacy.secure_random import SecureGaussian

DTYPES = st.sampled_from([np.float16, np.float32, np.float64])


@st.composite
def deltas(draw):
    dtype = draw(DTYPES)
    values = st_numpy.arrays(
        dtype,
        st_numpy.array_shapes(min_dims=0, max_dims=3, max_side=5),
        elements=st.floats(-(2.0**15), 2.0**15, width=16).map(float),
    )
    return draw(st.lists(values, min_size=1, max_size=3))


def same(ours, theirs) -> bool:
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(ours, theirs, strict=True)
    )


def test_by_hand():
    delta = [np.array([3.0], np.float32), np.array([[0.0, 4.0]], np.float32)]

    assert euclidean_norm(delta) == 5.0
    (first, second) = clip(delta, 2.5)
    assert first == pytest.approx(1.5, rel=1e-6)
    assert second[0] == pytest.approx([0.0, 2.0], rel=1e-6)


@given(deltas(), st.floats(1e-6, 1e6))
def test_nothing_is_longer_than_the_clip_norm_whatever_is_rounded(delta, clip_norm):
    assert euclidean_norm(clip(delta, clip_norm)) <= clip_norm


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounding_up_every_value_would_exceed_the_norm_and_does_not(dtype):
    # All values alike, so that rounding errors do not cancel: to nearest, some of these exceed.
    ones = [np.ones(2**16, dtype)]
    for clip_norm in np.linspace(0.5, 2.0, 200):
        assert euclidean_norm(clip(ones, float(clip_norm))) <= clip_norm


@given(deltas(), st.floats(1e-3, 1e6))
def test_little_is_lost_of_a_delta_that_was_too_long(delta, clip_norm):
    delta = [d.astype(np.float64) for d in delta]
    norm = euclidean_norm(delta)
    clipped = clip(delta, clip_norm)

    for before, after in zip(delta, clipped, strict=True):
        np.testing.assert_allclose(after, before * min(1.0, clip_norm / max(norm, 1e-300)), 1e-11)


@given(deltas())
def test_a_delta_that_is_short_enough_stays_as_it_is_to_the_bit(delta):
    assert same(clip(delta, euclidean_norm(delta)), delta)


@given(deltas(), st.floats(1e-6, 1e6))
def test_clipping_twice_is_clipping_once_and_changes_no_input(delta, clip_norm):
    before = [d.copy() for d in delta]
    once = clip(delta, clip_norm)

    assert same(clip(once, clip_norm), once)
    assert same(delta, before)
    assert [(d.shape, d.dtype) for d in once] == [(d.shape, d.dtype) for d in delta]


def test_a_delta_of_huge_values_has_no_warning_and_no_length_left():
    (clipped,) = clip([np.full(4, 1e200)], 1.0)

    assert euclidean_norm([clipped]) <= 1.0


class Ones(SecureGaussian):
    """Noise of one standard deviation, everywhere."""

    def sample(self, shape, std):
        return np.full(shape, std)


def test_noise_is_added_to_every_value_in_the_deltas_dtype():
    noisy = add_noise([np.zeros(3, np.float32), np.array(1.0, np.float32)], 0.5, Ones())

    assert noisy[0].tolist() == [0.5, 0.5, 0.5]
    assert noisy[1] == 1.5
    assert all(array.dtype == np.float32 for array in noisy)


def test_protection_clips_first_and_adds_its_share_of_the_noise_then():
    delta = [np.array([30.0, 40.0], np.float32)]

    (both,) = Protection(clip_norm=5.0, noise_multiplier=0.4).apply(delta, Ones())
    (only_clipped,) = Protection(clip_norm=5.0).apply(delta, Ones())

    assert only_clipped == pytest.approx([3.0, 4.0], rel=1e-6)
    assert both == pytest.approx([5.0, 6.0], rel=1e-6)  # 0.4 * 5 more
    assert same(UNPROTECTED.apply(delta, Ones()), delta)
