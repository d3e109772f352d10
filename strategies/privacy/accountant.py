"""How much privacy a run has spent: of the participant who has spent the most.

A release of a sum to which a participant contributes at most `clip_norm`, with Gaussian noise of
standard deviation `z * clip_norm`, is a Gaussian mechanism of noise multiplier `z`. Several of
them, `z_1, z_2, ...`, are together exactly one of multiplier `1 / sqrt(sum(1 / z_r^2))`. So that
sum, kept per participant over the rounds that it took part in, is all there is to know, and
`dp-accounting` has its epsilon, exactly. Being sampled at random earns no rebate here, because
the seed that decides it is known to everybody.

Source: Dong, Roth and Su, 2019, arXiv:1905.02383, corollary 3.3 (composition); Balle and Wang,
ICML 2018, arXiv:1805.06530, theorem 8 (epsilon).
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping

# Round-off of the solver and of the sum over rounds must not cost the last round.
_ROUND_OFF = 1e-9


class BudgetSpent(Exception):  # noqa: N818 - no error: the run ends as it was told to
    """A further round would spend more than the budget; the message is a sentence."""


class PrivacyLedger:
    """What every participant has spent, saved before anything is released.

    Attributes:
        delta: The probability with which the guarantee may fail.
        budget: The largest epsilon; `None` is no limit.
    """

    def __init__(
        self,
        delta: float,
        save: Callable[[str], None],
        saved: str | None = None,
        budget: float | None = None,
    ) -> None:
        """Set up; a new ledger is saved at once, so that one that is missing has been lost.

        Args:
            delta: The probability with which the guarantee may fail.
            save: Writes the text durably, or raises.
            saved: What was written last, on resume.
            budget: The largest epsilon; `None` is no limit.

        Raises:
            ValueError: If `saved` cannot be read, or is of another delta.
        """
        self.delta = delta
        self.budget = budget
        self._save = save
        self._spent: dict[str, float] = {}
        if saved is None:
            self._write(self._spent)
        else:
            self._spent = _read(saved, delta)

    def record(self, participants: Iterable[str], noise_multiplier: float) -> None:
        """Note that a sum over these participants is about to be released.

        Args:
            participants: Those who contributed.
            noise_multiplier: Standard deviation of the noise over the largest contribution.

        Raises:
            Exception: Whatever saving raises; then nothing may be released.
        """
        spent = dict(self._spent)
        for name in participants:
            spent[name] = spent.get(name, 0.0) + noise_multiplier**-2
        self._write(spent)
        self._spent = spent

    def check(self, participants: Iterable[str], noise_multiplier: float) -> None:
        """Raise `BudgetSpent` if such a release would cost one of them more than the budget."""
        if self.budget is None:
            return
        spent = max((self._spent.get(name, 0.0) for name in participants), default=0.0)
        after = epsilon_of(spent + noise_multiplier**-2, self.delta)
        if after > self.budget:
            raise BudgetSpent(
                f"epsilon {self.epsilon():.3g} of {self.budget:g} is spent, and the next round "
                f"would make it {after:.3g}"
            )

    def epsilon(self) -> float:
        """Return what the participant who has spent the most has spent."""
        return epsilon_of(max(self._spent.values(), default=0.0), self.delta)

    def _write(self, spent: Mapping[str, float]) -> None:
        self._save(json.dumps({"delta": self.delta, "sum of 1/z^2": spent}, indent=2) + "\n")


def _read(saved: str, delta: float) -> dict[str, float]:
    try:
        content = json.loads(saved)
        spent = {str(name): float(s) for name, s in content["sum of 1/z^2"].items()}
        saved_delta = float(content["delta"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"it cannot be read: {error!r}") from error
    if saved_delta != delta:
        raise ValueError(f"it is for delta {saved_delta:g}, not {delta:g}")
    if not all(0 <= s < math.inf for s in spent.values()):
        raise ValueError("it holds a sum that is no number from 0 on")
    return spent


def epsilon_of(spent: float, delta: float) -> float:
    """Return epsilon of Gaussian mechanisms with `sum(1 / z_r^2) = spent`."""
    if spent == 0:
        return 0.0
    import dp_accounting  # slow, and only needed where there is privacy

    return float(dp_accounting.get_epsilon_gaussian(1 / math.sqrt(spent), delta))


def noise_multiplier_for(epsilon: float, delta: float, releases: int) -> float:
    """Return the noise multiplier with which so many releases spend `epsilon`, and no more.

    Args:
        epsilon: The budget.
        delta: The probability with which the guarantee may fail.
        releases: The most that one participant takes part in.
    """
    import dp_accounting

    sigma = float(dp_accounting.get_sigma_gaussian(epsilon, delta))
    return sigma * math.sqrt(releases) * (1 + _ROUND_OFF)
