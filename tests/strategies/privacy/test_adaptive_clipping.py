"""A clip norm that follows a quantile of the norms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.client_update import AggregationError, UpdateSum
from strategies.privacy.accountant import epsilon_of
from strategies.privacy.adaptive_clipping import AdaptiveClip
from strategies.privacy.secure_random import SecureGaussian
from tests.strategies.privacy.private_mean import DELTA, Fixed, private_mean, update


def adaptive(num_planned: int = 40, total: float = 1.0) -> AdaptiveClip:
    return AdaptiveClip(quantile=0.5, rate=0.2, num_planned=num_planned, total=total)


@pytest.mark.parametrize(("num_planned", "total"), [(10, 1.0), (40, 1.0), (1000, 0.5), (3, 20.0)])
def test_both_releases_together_spend_what_one_would(num_planned, total):
    clip = adaptive(num_planned, total)
    count_multiplier = clip.count_noise / 0.5  # a participant moves the count by 1/2

    assert clip.delta_multiplier**-2 + count_multiplier**-2 == pytest.approx(total**-2)
    assert count_multiplier**-2 <= 0.1 * total**-2 * (1 + 1e-9)


def test_the_noise_on_the_counts_by_hand():
    assert adaptive(1000, 1.0).count_noise == 50.0
    # For ten the paper's 0.5 would spend everything: 1 / (2 s)^2 = 0.1 gives s = 1.58.
    assert adaptive(10, 1.0).count_noise == pytest.approx(math.sqrt(10) / 2)


def test_the_clip_norm_moves_by_hand():
    clip = adaptive(num_planned=10)

    assert clip.moved(1.0, unclipped=5, num_replies=10, noise=0.0) == 1.0
    assert clip.moved(1.0, unclipped=10, num_replies=10, noise=0.0) == pytest.approx(math.exp(-0.1))
    assert clip.moved(2.0, unclipped=0, num_replies=10, noise=-5.0) == pytest.approx(
        2 * math.exp(0.2)
    )


@given(st.integers(0, 9), st.booleans())
def test_one_participant_moves_the_centred_count_by_a_half(unclipped, is_unclipped):
    """Also where it is there or not: this is what the noise is reckoned for."""
    clip = adaptive(num_planned=10)

    def centred(count: int, replies: int) -> float:
        return -math.log(clip.moved(1.0, count, replies, 0.0)) / 0.2 * 10

    moved = centred(unclipped + is_unclipped, 10) - centred(unclipped, 9)
    assert abs(moved) == pytest.approx(0.5)


def test_the_clip_norm_finds_the_quantile_of_the_norms():
    noise = SecureGaussian()
    mean = private_mean(num_planned=40, clip_norm=0.1, noise_multiplier=1.0, noise=noise)
    mean._adaptive = AdaptiveClip(0.75, 0.2, 40, 1.0)
    updates = [update(str(i), (i + 0.5) / 40) for i in range(40)]  # norms evenly in (0, 1)

    norms = []
    for _ in range(200):
        mean(updates)
        norms.append(mean.clip_norm)

    assert np.mean(norms[50:]) == pytest.approx(0.75, abs=0.1)


def test_the_sum_is_clipped_to_the_norm_of_the_round_and_noisier_than_without_counts():
    noise = Fixed()
    clip = adaptive(num_planned=2)
    mean = private_mean(num_planned=2, clip_norm=1.0, adaptive=clip, noise=noise)
    mean([update("a", 5.0), update("b", 0.2)])

    assert noise.stds == [clip.delta_multiplier, clip.count_noise]
    assert mean.clip_norm == 1.0  # one of two was clipped
    assert mean.ledger.epsilon() == epsilon_of(2.0**-2, DELTA)


def test_noisy_deltas_do_not_show_whether_they_were_clipped():
    with pytest.raises(ValueError, match="hide whether"):
        private_mean(participants_add_noise=True, adaptive=adaptive())


def test_the_clip_norm_is_what_a_checkpoint_keeps():
    mean = private_mean(clip_norm=1.0)
    state = private_mean(clip_norm=0.25).state()

    mean.load_state(state)

    assert mean.clip_norm == 0.25
    assert mean.instruction() == {"clip-norm": 0.25}


def test_a_sum_hides_how_many_deltas_were_clipped():
    mean = private_mean(adaptive=adaptive())
    taken = mean.begin()
    taken.add_sum(UpdateSum(("0", "1"), 2, [np.zeros(1, np.float32)]))
    with pytest.raises(AggregationError, match="does not show how many"):
        taken.result()
