"""One line per round that a person can read."""

from collections.abc import Mapping
from logging import INFO

from flwr.common.logger import log

from fl_app.core.metrics import Metric
from fl_app.results.records import RoundReport
from strategies.core.client_update import Arrays


class ProgressLog:
    """Logs a line after each round."""

    def __init__(
        self,
        num_rounds: int,
        metrics: Mapping[str, Metric],
        budget: float | None = None,
    ) -> None:
        """Set up.

        Args:
            num_rounds: The last round if nothing ends the run earlier.
            metrics: What to tell of an evaluation, by name, in this order.
            budget: The largest epsilon that may be spent, if there is a limit.
        """
        self._num_rounds = num_rounds
        self._metrics = metrics
        self._budget = budget
        self._seconds: list[float] = []

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Log the round; never ends the run."""
        if report.server_round > 0:
            self._seconds.append(report.seconds)
        log(INFO, "%s", self.describe(report))
        return None

    def describe(self, report: RoundReport) -> str:
        """Say what happened in a round, and how long the rest will take."""
        parts = [f"round {report.server_round:>{len(str(self._num_rounds))}}/{self._num_rounds}"]
        for name, score in (("central", report.central), ("federated", report.federated)):
            if score is not None:
                values = ((m, metric, score.value(m)) for m, metric in self._metrics.items())
                told = [f"{m} {metric.show(v)}" for m, metric, v in values if v is not None]
                parts.append(" ".join([name, *told]))
        if report.epsilon is not None:
            limit = "" if self._budget is None else f" of {self._budget:g}"
            parts.append(f"epsilon {report.epsilon:.3g}{limit}")
        if report.server_round > 0:
            asked, failed = len(report.participants), len(report.failures)
            failures = f", {failed} failed" if failed else ""
            parts.append(f"{asked - failed} of {asked} participants{failures}")
            parts.append(
                f"up {format_bytes(report.bytes_up)} down {format_bytes(report.bytes_down)}"
            )
            parts.append(f"{report.seconds:.1f} s")
            left = self._num_rounds - report.server_round
            if left > 0:
                mean = sum(self._seconds) / len(self._seconds)
                parts.append(f"about {format_duration(left * mean)} left")
        return " | ".join(parts)


def format_bytes(count: int) -> str:
    """Format a number of bytes: `format_bytes(1_724_320) == "1.7 MB"`."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def format_duration(seconds: float) -> str:
    """Format a time span: `format_duration(125) == "2 min 5 s"`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
