"""Step 5, "until the convergence condition holds": the conditions that may end a run.

Each is a hook of the round loop (see `fl_app.rounds.round_loop.RoundHook`) that looks at one thing
and keeps what it needs. On resume the past rounds are shown to it again, in order, so it needs
no saving: its state is a function of the history.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fl_app.callbacks.best_model import BestModel, Objective
from fl_app.core.errors import UserError
from fl_app.results.records import RoundReport, names_by_reason
from strategies.core.client_update import Arrays, participant_order

_MOST_TOLD = 10


class FailedRoundsError(UserError):
    """Round after round left the global model as it was."""


class TargetReached:
    """Ends the run when the objective is at a target, or better."""

    def __init__(self, objective: Objective, target: float) -> None:
        """Set up; the target is in the unit of the objective."""
        self._objective = objective
        self._target = target

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Compare the round with the target."""
        value = self._objective.value(report)
        if value is None or self._objective.gain(value, self._target) < 0:
            return None
        return f"{self._objective} {value:.4f} reached the target of {self._target:g}"


class NoImprovement:
    """Ends the run after `patience` rounds without an improvement by `min_improvement`."""

    def __init__(self, objective: Objective, patience: int, min_improvement: float = 0.0) -> None:
        """Set up.

        Args:
            objective: What is to improve.
            patience: Rounds in a row without improvement that end the run.
            min_improvement: An improvement is a gain by more than this.
        """
        self._objective = objective
        self._patience = patience
        self._min_improvement = min_improvement
        self._best: float | None = None
        self._best_round = 0

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Count rounds since the last improvement; an unmeasured round counts as none."""
        value = self._objective.value(report)
        if value is not None and (
            self._best is None or self._objective.gain(value, self._best) > self._min_improvement
        ):
            self._best, self._best_round = value, report.server_round
        if report.server_round - self._best_round < self._patience:
            return None
        return (
            f"{self._objective} has not improved by more than {self._min_improvement:g} "
            f"for {self._patience} rounds, since round {self._best_round}"
        )


class SmallUpdate:
    """Ends the run when the global update is small relative to the weights."""

    def __init__(self, tolerance: float) -> None:
        """Set up; `tolerance` bounds |w_{t+1} - w_t| / |w_t| in Euclidean norms."""
        self._tolerance = tolerance

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Compare; a round that changed nothing because it failed has not converged."""
        size = report.relative_update
        if not report.aggregated or size is None or size > self._tolerance:
            return None
        return f"the update was {size:.3g} of the weights, within update-tolerance"


class TimeBudget:
    """Ends the run when its wall-clock time is used up, resumed parts included."""

    def __init__(self, seconds: float, elapsed: Callable[[], float]) -> None:
        """Set up.

        Args:
            seconds: The budget.
            elapsed: Returns the seconds spent so far, earlier parts of a resumed run included.
        """
        self._seconds = seconds
        self._elapsed = elapsed

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Compare the time spent with the budget; a round in progress is never cut short."""
        if self._elapsed() < self._seconds:
            return None
        return f"the time budget of {self._seconds:g} s is used up"


class FailedRounds:
    """Gives up when several rounds in a row changed nothing."""

    def __init__(self, limit: int) -> None:
        """Set up; `limit` rounds in a row end the run with an error."""
        self._limit = limit
        self._in_a_row = 0

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Count rounds without an aggregate.

        Raises:
            FailedRoundsError: At the limit; the global model is still that of the last
                round that succeeded.
        """
        if report.server_round == 0:
            return None
        self._in_a_row = 0 if report.aggregated else self._in_a_row + 1
        if self._in_a_row < self._limit:
            return None
        raise FailedRoundsError(
            f"{self._in_a_row} rounds in a row changed nothing (max-failed-rounds). In the last "
            f"one: {why_unchanged(report)}"
        )


def why_unchanged(report: RoundReport) -> str:
    """Say what became of a round that changed nothing: who was asked, who replied, and why."""
    asked = report.participants
    if not asked:
        return "nobody was asked to train, too few are connected"
    replied = [one for one in asked if one.num_examples is not None or one.bytes_up > 0]
    refused = [one for one in replied if one.failure is not None]
    parts = [f"asked {len(asked)}, replied {len(replied)}, refused {len(refused)}"]
    parts += [report.unchanged] if report.unchanged else []
    in_order = sorted(report.failures.items(), key=lambda failure: participant_order(failure[0]))
    by_reason = names_by_reason(dict(in_order))
    failures = [f"{_listed(names, ', ')}: {why}" for why, names in by_reason.items()]
    return "; ".join([*parts, *([_listed(failures, "; ")] if failures else [])])


def _listed(texts: Sequence[str], separator: str) -> str:
    """Return the first ten texts, and how many more there are."""
    told = separator.join(texts[:_MOST_TOLD])
    more = len(texts) - _MOST_TOLD
    return f"{told}{separator}and {more} more" if more > 0 else told


@dataclass(frozen=True)
class StopSettings:
    """The stop conditions of a run; 0 turns one off.

    Attributes:
        objective: What patience looks at.
        targets: Objectives with the values that end the run.
        patience: Rounds.
        min_improvement: In the unit of the objective.
        update_tolerance: Relative size of the global update.
        time_budget: Seconds.
        max_failed_rounds: Rounds in a row.
    """

    objective: Objective
    targets: Sequence[tuple[Objective, float]]
    patience: int
    min_improvement: float
    update_tolerance: float
    time_budget: float
    max_failed_rounds: int


StopCondition = TargetReached | NoImprovement | SmallUpdate | TimeBudget | FailedRounds


def stop_conditions(
    settings: StopSettings, elapsed: Callable[[], float]
) -> Sequence[StopCondition]:
    """Build the conditions that are on; any of them ends the run."""
    conditions: list[StopCondition] = [FailedRounds(settings.max_failed_rounds)]
    conditions += [TargetReached(objective, value) for objective, value in settings.targets]
    if settings.patience > 0:
        conditions.append(
            NoImprovement(settings.objective, settings.patience, settings.min_improvement)
        )
    if settings.update_tolerance > 0:
        conditions.append(SmallUpdate(settings.update_tolerance))
    if settings.time_budget > 0:
        conditions.append(TimeBudget(settings.time_budget, elapsed))
    return conditions


def replay(
    history: Sequence[RoundReport], conditions: Sequence[StopCondition], best: BestModel
) -> str | None:
    """Show the past rounds of a resumed run to its conditions, so that they stand as they did.

    Failed rounds are forgiven: whoever resumes after them has put something right.

    Returns:
        Why the run is to end at once: a condition holds after the last of these rounds.
    """
    nothing: Arrays = []  # conditions look at the report alone
    reasons: list[str | None] = []
    for report in history:
        best.is_best(report)
        reasons = [
            condition.after_round(report, nothing)
            for condition in conditions
            if not isinstance(condition, FailedRounds)
        ]
    return next((reason for reason in reasons if reason is not None), None)
