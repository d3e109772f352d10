"""What a run is to be good at, and the model of the round in which it was best."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fl_app.core.metrics import Metric
from fl_app.results.records import RoundReport, Score
from strategies.core.client_update import Arrays

Monitor = Literal["auto", "central", "federated"]


@dataclass(frozen=True)
class Objective:
    """What "better" means: which evaluation, and which of its numbers.

    Attributes:
        monitor: The server's evaluation or the participants'; `auto` is the server's where
            there is one.
        name: The metric, or the loss.
        metric: Whether it is to be high or low.
    """

    monitor: Monitor
    name: str
    metric: Metric

    def value(self, report: RoundReport) -> float | None:
        """Return the number in a round's report, or `None` if there is no finite one."""
        scores = {"central": report.central, "federated": report.federated}
        score: Score | None = scores.get(self.monitor, report.score)
        value = None if score is None else score.value(self.name)
        return None if value is None or not math.isfinite(value) else value

    def gain(self, new: float, old: float) -> float:
        """Return by how much `new` is better than `old`; negative if it is worse."""
        return self.metric.gain(new, old)

    def __str__(self) -> str:
        return self.name if self.monitor == "auto" else f"{self.monitor} {self.name}"


class BestModel:
    """Keeps the model of the best round beside the last one.

    Attributes:
        objective: What "best" means.
        best: The best value so far.
        best_round: The round it is of.
    """

    def __init__(self, objective: Objective, keep: Callable[[Arrays], None]) -> None:
        """Set up.

        Args:
            objective: What "best" means.
            keep: Saves the weights of a round.
        """
        self.objective = objective
        self._keep = keep
        self.best: float | None = None
        self.best_round: int | None = None

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Keep the weights if the round is better than all before; never ends the run."""
        if self.is_best(report):
            self._keep(weights)
        return None

    def is_best(self, report: RoundReport) -> bool:
        """Tell whether a round is better than all before, and remember it if so."""
        value = self.objective.value(report)
        if value is None or (self.best is not None and self.objective.gain(value, self.best) <= 0):
            return False
        self.best, self.best_round = value, report.server_round
        return True
