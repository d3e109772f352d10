"""What each adversary does, by hand, and who the adversaries are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.attacks import (
    ALittleIsEnough,
    InflatedCount,
    LabelFlip,
    ScaledNoise,
    Scene,
    SignFlip,
    draw_adversaries,
    largest_hidden_deviation,
)
from strategies.core.client_update import Arrays

DELTA: Arrays = [np.array([3.0, -4.0], np.float32), np.array(12.0, np.float32)]  # norm 13


def scene(*honest: Arrays, seed: int = 0) -> Scene:
    return Scene(10, 3, lambda: honest, np.random.default_rng(seed))


def test_sign_flip_by_hand():
    (first, second), count = SignFlip(scale=2.0).poison_update(DELTA, 7, scene())

    assert (first.tolist(), second.tolist(), count) == ([-6, 8], -24, 7)


def test_inflated_count_by_hand():
    (first, second), count = InflatedCount(factor=100).poison_update(DELTA, 7, scene())

    assert (first.tolist(), second.tolist(), count) == ([-3, 4], -12, 700)


def test_label_flip_by_hand():
    labels = np.array([0, 1, 9])

    assert LabelFlip().poison_labels(labels, 10).tolist() == [9, 8, 0]
    assert labels.tolist() == [0, 1, 9]
    assert LabelFlip().poison_update(DELTA, 7, scene()) == (DELTA, 7)


def test_scaled_noise_is_so_many_times_as_long_as_the_honest_delta_and_points_anywhere():
    delta: Arrays = [np.full(10_000, 0.02, np.float32)]  # norm 2

    (lie,), _ = ScaledNoise(scale=5.0).poison_update(delta, 1, scene())

    assert np.linalg.norm(lie) == pytest.approx(10, rel=0.03)
    assert abs(np.vdot(lie, delta[0])) < 0.05 * 10 * 2
    (other,), _ = ScaledNoise(scale=5.0).poison_update(delta, 1, scene(seed=1))
    assert (lie != other).any()


def test_a_little_is_enough_by_hand():
    # Means 2 and 5, population deviations 1 and 3: minus z = 0.5 of them.
    honest: list[Arrays] = [
        [np.array([1.0], np.float32), np.array(2.0, np.float32)],
        [np.array([3.0], np.float32), np.array(8.0, np.float32)],
    ]

    (first, second), count = ALittleIsEnough(z=0.5).poison_update(DELTA, 7, scene(*honest))

    assert (first.tolist(), second.tolist(), count) == ([1.5], 3.5, 7)


def test_all_who_say_a_little_is_enough_say_the_same():
    honest = [[np.array([float(i)], np.float32)] for i in range(3)]

    (one,), _ = ALittleIsEnough().poison_update([honest[0][0]], 1, scene(*honest, seed=1))
    (other,), _ = ALittleIsEnough().poison_update([honest[2][0]], 1, scene(*honest, seed=2))

    assert one == other


def test_how_far_it_hides_is_the_papers_number():
    # n = 50, m = 24: s = 26 - 24 = 2, Phi^-1(24 / 26) = 1.43: the paper's example.
    assert largest_hidden_deviation(50, 24) == pytest.approx(1.43, abs=0.005)
    # n = 10, m = 3: s = 3, Phi^-1(4 / 7) = 0.18.
    assert largest_hidden_deviation(10, 3) == pytest.approx(0.18, abs=0.001)
    assert largest_hidden_deviation(10, 6) == 0  # a majority has nothing to hide


@pytest.mark.parametrize(
    "adversary",
    [SignFlip(), ScaledNoise(), LabelFlip(), InflatedCount(), ALittleIsEnough()],
    ids=repr,
)
def test_what_is_shared_stays_as_it_is(adversary: Any):
    before = [d.copy() for d in DELTA]
    labels = np.arange(10)
    labels.setflags(write=False)

    adversary.poison_labels(labels, 10)
    lie, _ = adversary.poison_update(DELTA, 7, scene(DELTA, DELTA))

    assert [d.tobytes() for d in DELTA] == [d.tobytes() for d in before]
    assert [(d.shape, d.dtype) for d in lie] == [(d.shape, d.dtype) for d in DELTA]


@given(st.integers(1, 200), st.floats(0, 1), st.integers(0, 100))
def test_a_share_of_the_participants_lies_always_the_same_ones(n, fraction, seed):
    liars = draw_adversaries(n, fraction, seed)

    assert liars == draw_adversaries(n, fraction, seed)
    assert len(liars) == len(set(liars)) == round(fraction * n)
    assert all(0 <= liar < n for liar in liars)


def test_other_seeds_draw_others():
    assert len({tuple(draw_adversaries(100, 0.3, seed)) for seed in range(5)}) == 5
