import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.client_update import AggregationError, ClientUpdate, UpdateSum
from strategies.privacy.accountant import BudgetSpent, PrivacyLedger, epsilon_of
from strategies.privacy.clipping import Protection
from strategies.privacy.gaussian_mean import PrivateMean
from strategies.privacy.secure_random import SecureGaussian
from tests.strategies.privacy.private_mean import DELTA, Fixed, private_mean, update


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
