import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.privacy.accountant import (
    BudgetSpent,
    PrivacyLedger,
    epsilon_of,
    noise_multiplier_for,
)

DELTA = 1e-5
multipliers = st.floats(0.3, 50.0)


def kept(**arguments) -> tuple[PrivacyLedger, list[str]]:
    """A ledger, and what it saves."""
    saved: list[str] = []
    return PrivacyLedger(DELTA, saved.append, **arguments), saved


def gaussian_delta(sigma: float, epsilon: float) -> float:
    """Theorem 8 of Balle and Wang, at sensitivity 1."""
    from scipy.stats import norm  # slow

    below = norm.cdf(1 / (2 * sigma) - epsilon * sigma)
    return float(below - math.exp(epsilon) * norm.cdf(-1 / (2 * sigma) - epsilon * sigma))


# Epsilon, by others


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
def test_one_release_is_the_analytic_gaussian_mechanism(sigma, delta):
    from scipy.optimize import brentq

    expected = brentq(lambda epsilon: gaussian_delta(sigma, epsilon) - delta, 0.0, 200.0)

    assert epsilon_of(sigma**-2, delta) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("sigmas", [[1.0] * 10, [0.8, 1.5, 3.0, 3.0], [4.0] * 100])
def test_several_releases_agree_with_the_accountants_of_dp_accounting(sigmas):
    import dp_accounting  # slow
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    ours = epsilon_of(sum(sigma**-2 for sigma in sigmas), DELTA)

    composed = PLDAccountant(value_discretization_interval=1e-3)
    bound = RdpAccountant()
    for sigma in sigmas:
        composed.compose(dp_accounting.GaussianDpEvent(sigma))
        bound.compose(dp_accounting.GaussianDpEvent(sigma))
    # The discretised losses are rounded up: a little more, never less.
    assert ours <= composed.get_epsilon(DELTA) <= ours * 1.02 + 0.01
    assert ours < bound.get_epsilon(DELTA) < ours * 1.3 + 0.5


def test_the_well_known_number():
    # sigma = 1, delta = 1e-5: 4.377, the value of the analytic mechanism; the classical bound
    # sqrt(2 ln(1.25/delta)) / sigma is 4.84.
    assert epsilon_of(1.0, 1e-5) == pytest.approx(4.3772, abs=1e-4)
    assert epsilon_of(0.0, 1e-5) == 0.0


@given(st.lists(multipliers, min_size=1, max_size=6), multipliers)
def test_epsilon_grows_with_every_release_and_does_not_depend_on_their_order(releases, more):
    def spent(multipliers):
        ledger, _ = kept()
        for multiplier in multipliers:
            ledger.record(["a"], multiplier)
        return ledger.epsilon()

    assert spent([*releases, more]) >= spent(releases)
    assert spent(releases[::-1]) == pytest.approx(spent(releases), rel=1e-9)


@given(st.floats(0.05, 50.0), st.floats(1e-9, 1e-2), st.integers(1, 500))
@settings(max_examples=50)
def test_the_noise_solved_for_a_budget_spends_it_and_no_more(epsilon, delta, releases):
    z = noise_multiplier_for(epsilon, delta, releases)
    spent = 0.0
    for _ in range(releases):
        spent += z**-2

    assert epsilon * (1 - 1e-6) < epsilon_of(spent, delta) <= epsilon


def test_the_last_round_of_a_solved_budget_fits_in_and_one_more_does_not():
    ledger, _ = kept(budget=2.0)
    z = noise_multiplier_for(2.0, DELTA, 30)
    for _ in range(30):
        ledger.check(["a"], z)
        ledger.record(["a"], z)

    assert ledger.epsilon() == pytest.approx(2.0, rel=1e-6)
    with pytest.raises(BudgetSpent, match=r"epsilon 2 of 2 is spent, and the next round would"):
        ledger.check(["a"], z)


# Who has spent what


def test_the_participant_who_has_spent_the_most_decides():
    ledger, _ = kept()
    ledger.record(["a", "b"], 2.0)
    ledger.record(["b", "c"], 1.0)

    assert ledger.epsilon() == epsilon_of(0.25 + 1.0, DELTA)  # b was in both


def test_a_round_may_go_on_without_those_whose_budget_is_used_up():
    ledger, _ = kept(budget=epsilon_of(1.0, DELTA) * 1.001)
    ledger.record(["a"], 1.0)

    ledger.check(["b", "c"], 1.0)
    with pytest.raises(BudgetSpent):
        ledger.check(["a", "b"], 1.0)


def test_without_a_budget_nothing_ends():
    ledger, _ = kept()
    for _ in range(100):
        ledger.check(["a"], 0.1)
        ledger.record(["a"], 0.1)


# Saving


def test_it_is_saved_before_it_counts_and_a_release_that_is_not_saved_is_not_made():
    ledger, saved = kept()
    assert json.loads(saved[0])["sum of 1/z^2"] == {}

    def failing(text: str) -> None:
        raise OSError("disk full")

    ledger.record(["a"], 2.0)
    assert json.loads(saved[-1]) == {"delta": DELTA, "sum of 1/z^2": {"a": 0.25}}
    ledger._save = failing
    with pytest.raises(OSError, match="disk full"):
        ledger.record(["a"], 2.0)
    assert ledger.epsilon() == epsilon_of(0.25, DELTA)


@given(st.dictionaries(st.text(), multipliers, max_size=5))
def test_a_ledger_goes_on_from_what_was_saved(spent):
    first, saved = kept()
    for name, multiplier in spent.items():
        first.record([name], multiplier)

    second, _ = kept(saved=saved[-1])

    assert second.epsilon() == first.epsilon()
    second.record(["somebody"], 1.0)
    first.record(["somebody"], 1.0)
    assert second.epsilon() == first.epsilon()


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"delta": 1e-5}', "cannot be read"),
        ('{"delta": 1e-5, "sum of 1/z^2": {"a": "much"}}', "cannot be read"),
        ('{"delta": 1e-5, "sum of 1/z^2": {"a": -1}}', "no number from 0 on"),
        ('{"delta": 1e-5, "sum of 1/z^2": {"a": NaN}}', "no number from 0 on"),
        ('{"delta": 1e-6, "sum of 1/z^2": {}}', "it is for delta 1e-06, not 1e-05"),
    ],
)
def test_a_damaged_ledger_is_refused(saved, reason):
    with pytest.raises(ValueError, match=reason):
        kept(saved=saved)
