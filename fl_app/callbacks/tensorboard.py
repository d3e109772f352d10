"""The history as TensorBoard events, by PyTorch's own writer."""

from collections.abc import Callable, Mapping, Sequence
from logging import ERROR
from pathlib import Path
from typing import Any

from flwr.common.logger import log
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from fl_app.results.records import RoundReport
from strategies.core.client_update import Arrays

_FINAL = "hparam/"


class TensorBoardLog:
    """Writes one event file per run, with its hyperparameters; a hook of the workflow.

    A failure to write is reported once, and the run goes on without events.
    """

    def __init__(
        self,
        path: Path,
        run_config: Mapping[str, Any],
        metrics: Sequence[str],
        first_round: int = 0,
        gave_up: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Open the event file.

        Args:
            path: Directory for the events of this run.
            run_config: What TensorBoard shows as hyperparameters.
            metrics: Names of the metrics that it shows beside them.
            first_round: The first round to come; events of an interrupted run from there on
                are superseded.
            gave_up: Is told why there will be no more events.
        """
        self._tell = gave_up
        self._writer: SummaryWriter | None = None
        try:
            # purge_step makes TensorBoard forget what a killed run wrote after its checkpoint.
            self._writer = SummaryWriter(
                str(path), purge_step=first_round or None, filename_suffix=".delta-fedavg"
            )
            summaries = hparams(dict(run_config), {_FINAL + name: None for name in metrics})  # type: ignore[no-untyped-call]
            for summary in summaries:
                self._writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]
        except OSError as error:
            self._give_up(error)

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Write the round's scalars; never ends the run."""
        if self._writer is None:
            return None
        try:
            for tag, value in scalars(report).items():
                self._writer.add_scalar(tag, value, report.server_round)
            self._writer.flush()
        except OSError as error:
            self._give_up(error)
        return None

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        log(ERROR, "TensorBoard events are not written, the run goes on: %s", error)
        self._tell(error.strerror or str(error))


def scalars(report: RoundReport) -> dict[str, float]:
    """Return what is plotted of a round, by tag; what was not measured is left out."""
    values: dict[str, float | None] = {
        "train/loss": report.train_loss,
        "round/relative_update": report.relative_update,
        "privacy/epsilon": report.epsilon,
        "round/seconds": report.seconds,
        "round/failures": float(len(report.failures)),
        "bytes/up": float(report.bytes_up),
        "bytes/down": float(report.bytes_down),
    }
    values |= {f"train/{name}": value for name, value in report.train_metrics.items()}
    for name, score in (("central", report.central), ("federated", report.federated)):
        if score is not None:
            measured = {"loss": score.loss, **score.metrics}
            values |= {f"{name}/{metric}": value for metric, value in measured.items()}
    if report.score is not None:
        measured = {"loss": report.score.loss, **report.score.metrics}
        values |= {_FINAL + metric: value for metric, value in measured.items()}
    return {tag: value for tag, value in values.items() if value is not None}
