import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.client_update import AggregationError, ClientUpdate, UpdateSum
from strategies.privacy.accountant import BudgetSpent, PrivacyLedger, epsilon_of
from strategies.privacy.adaptive_clipping import AdaptiveClip
from strategies.privacy.clipping import Protection
from strategies.privacy.gaussian_mean import PrivateMean
from strategies.privacy.secure_random import SecureGaussian

DELTA = 1e-5


class Fixed(SecureGaussian):
    """`sigmas` standard deviations, everywhere; remembers the standard deviations asked for."""

    def __init__(self, sigmas: float = 0.0) -> None:
        super().__init__()
        self.sigmas = sigmas
        self.stds: list[float] = []

    def sample(self, shape: tuple[int, ...], std: float) -> Any:
        self.stds.append(std)
        return np.full(shape, self.sigmas * std)


def update(name: str, *values: float, num_examples: int = 1) -> ClientUpdate:
    return ClientUpdate(name, [np.array(values, np.float32)], num_examples)


def private_mean(num_planned: int = 2, **arguments: Any) -> PrivateMean:
    ledger = PrivacyLedger(DELTA, lambda text: None, budget=arguments.pop("budget", None))
    defaults: dict[str, Any] = {"clip_norm": 1.0, "noise_multiplier": 2.0, "noise": Fixed()}
    return PrivateMean(num_planned=num_planned, ledger=ledger, **(defaults | arguments))


def test_clipped_deltas_are_summed_and_divided_by_those_planned():
    # (3, 4) is clipped to (0.6, 0.8), (0, 0.5) stays: the sum is (0.6, 1.3), of four planned.
    updates = [update("a", 3.0, 4.0, num_examples=1000), update("b", 0.0, 0.5)]

    (mean,) = private_mean(num_planned=4)(updates)

    assert mean == pytest.approx([0.15, 0.325], rel=1e-6)
    assert mean.dtype == np.float32


def test_noise_of_the_multiplier_times_the_clip_norm_is_added_to_the_sum():
    mean = private_mean(num_planned=4, clip_norm=3.0, noise_multiplier=2.0, noise=Fixed(1.0))

    (result,) = mean([update("a", 1.0, 0.0)])

    assert result == pytest.approx([(1 + 6.0) / 4, 6.0 / 4])


@given(
    st.lists(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), min_size=2),
    st.floats(0.1, 50.0),
    st.data(),
)
def test_leaving_one_participant_out_moves_the_sum_by_the_clip_norm_at_most(
    deltas, clip_norm, data
):
    updates = [update(str(i), *values) for i, values in enumerate(deltas)]
    left_out = data.draw(st.integers(0, len(updates) - 1))
    without = updates[:left_out] + updates[left_out + 1 :]
    planned = len(updates)

    def total(those: list[ClientUpdate]) -> Any:
        (mean,) = private_mean(num_planned=planned, clip_norm=clip_norm)(those)
        return mean.astype(np.float64) * planned

    moved = float(np.linalg.norm(total(updates) - total(without)))
    # The mean is rounded to float32 after the noise has been added.
    assert moved <= clip_norm + planned * clip_norm * 1e-6


def test_example_counts_mean_nothing():
    few = [update("a", 0.5, 0.0), update("b", 0.0, 0.5)]
    many = [update("a", 0.5, 0.0, num_examples=10**6), update("b", 0.0, 0.5)]

    assert private_mean()(few)[0].tolist() == private_mean()(many)[0].tolist()


def test_a_real_release_has_the_spread_that_was_charged_for():
    zeros = [ClientUpdate(str(i), [np.zeros(20_000, np.float32)], 1) for i in range(5)]
    mean = private_mean(num_planned=5, clip_norm=0.5, noise_multiplier=3.0, noise=SecureGaussian())

    (result,) = mean(zeros)

    # The relative standard error is 1/sqrt(2 * 20000) = 0.5 %; eight of them, one in 10^15 runs.
    assert result.std() == pytest.approx(3.0 * 0.5 / 5, rel=8 * 0.005)
    assert mean.ledger.epsilon() == epsilon_of(3.0**-2, DELTA)


# The ledger


def test_the_ledger_is_saved_before_noise_is_drawn():
    order: list[str] = []

    class Watching(Fixed):
        def sample(self, shape: tuple[int, ...], std: float) -> Any:
            order.append("noise")
            return super().sample(shape, std)

    ledger = PrivacyLedger(DELTA, lambda text: order.append("saved"))
    PrivateMean(1.0, 2.0, 2, ledger, noise=Watching())([update("a", 1.0)])

    assert order == ["saved", "saved", "noise"]  # once when it was set up


def test_what_cannot_be_saved_is_not_released():
    mean = private_mean()

    def failing(text: str) -> None:
        raise OSError("disk full")

    mean.ledger._save = failing
    with pytest.raises(OSError, match="disk full"):
        mean([update("a", 1.0)])
    assert mean._noise.stds == []  # type: ignore[attr-defined]


def test_only_those_who_contributed_are_charged():
    saved: list[str] = []
    mean = PrivateMean(1.0, 2.0, 3, PrivacyLedger(DELTA, saved.append), noise=Fixed())

    mean([update("a", 1.0), update("c", 1.0)])

    assert json.loads(saved[-1])["sum of 1/z^2"] == {"a": 0.25, "c": 0.25}


def test_a_participant_that_comes_twice_would_count_twice():
    with pytest.raises(AggregationError, match="two updates"):
        private_mean()([update("a", 1.0), update("a", 1.0)])


def test_a_round_over_the_budget_is_refused_before_it_begins():
    mean = private_mean(budget=epsilon_of(2 * 2.0**-2, DELTA) * 1.001)
    for _ in range(2):
        mean.before_round(["a", "b"])
        mean([update("a", 1.0), update("b", 1.0)])

    mean.before_round(["c"])
    with pytest.raises(BudgetSpent):
        mean.before_round(["a", "c"])


# Distributed noise


def test_where_participants_add_noise_the_server_neither_clips_nor_adds_any():
    mean = private_mean(participants_add_noise=True, noise=Fixed(1.0))

    (result,) = mean([update("a", 30.0), update("b", 10.0)])

    assert result.tolist() == [20.0]


@pytest.mark.parametrize("num_replies", [1, 2, 3, 4])
def test_fewer_shares_are_less_noise_and_cost_more(num_replies):
    mean = private_mean(num_planned=4, participants_add_noise=True)

    mean([update(str(i), 1.0) for i in range(num_replies)])

    # Each share has variance (2 * C)^2 / 4, so the multiplier is 2 * sqrt(m / 4).
    assert mean.ledger.epsilon() == pytest.approx(epsilon_of(1 / (4 * num_replies / 4), DELTA))


def test_the_shares_of_all_participants_add_up_to_the_noise_charged_for():
    share = Protection(clip_norm=0.5, noise_multiplier=2.0 / math.sqrt(10), private=True)
    zeros = [np.zeros(5000, np.float32)]
    updates = [ClientUpdate(str(i), share.apply(zeros), 1) for i in range(10)]

    (mean,) = private_mean(num_planned=10, participants_add_noise=True)(updates)

    # The relative standard error is 1/sqrt(2 * 5000) = 1 %.
    assert (mean * 10).std() == pytest.approx(2.0 * 0.5, rel=8 * 0.01)


def test_a_sum_with_too_few_shares_is_charged_and_kept_back():
    budget = epsilon_of(2.0**-2, DELTA) * 1.001
    mean = private_mean(num_planned=4, participants_add_noise=True, budget=budget)
    mean.before_round([str(i) for i in range(4)])

    with pytest.raises(AggregationError, match="1 of 4 shares of noise are too few"):
        mean([update("0", 1.0)])
    # The server has seen it, with a quarter of the variance.
    assert mean.ledger.epsilon() == pytest.approx(epsilon_of(1.0, DELTA))


# Adaptive clipping


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


def test_a_sum_counts_as_the_updates_in_it_and_everybody_in_it_is_charged():
    def round_of(*names: str) -> tuple[PrivateMean, Any]:
        mean = private_mean(num_planned=3)
        return mean, mean.begin()

    by_sum, taken = round_of()
    taken.add_sum(UpdateSum(("0", "1"), 2, [np.array([0.25, -0.5], np.float32)]))
    taken.add(update("2", 0.5, 0.5))
    by_updates, held = round_of()
    for name in ("0", "1"):
        held.add(update(name, 0.25, -0.5))
    held.add(update("2", 0.5, 0.5))

    assert taken.result()[0].tobytes() == held.result()[0].tobytes()
    assert by_sum.ledger.epsilon() == by_updates.ledger.epsilon()


def test_a_sum_weighted_by_examples_is_refused():
    with pytest.raises(AggregationError, match="everybody counts once"):
        private_mean().begin().add_sum(UpdateSum(("0", "1"), 7, [np.zeros(1, np.float32)]))


def test_a_sum_hides_how_many_deltas_were_clipped():
    mean = private_mean(adaptive=adaptive())
    taken = mean.begin()
    taken.add_sum(UpdateSum(("0", "1"), 2, [np.zeros(1, np.float32)]))
    with pytest.raises(AggregationError, match="does not show how many"):
        taken.result()
