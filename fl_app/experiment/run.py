"""What a run is, at its start and at its end."""

import json
import platform
import time
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from logging import ERROR, INFO
from typing import Any

import torch
from flwr.common.logger import log
from torch import nn

from fl_app.callbacks.best_model import BestModel
from fl_app.callbacks.checkpoint import Checkpoint, check_identity, run_identity
from fl_app.callbacks.early_stopping import why_unchanged
from fl_app.callbacks.progress import format_duration
from fl_app.core.errors import ResumeError, UserError
from fl_app.core.run_config import RunConfig
from fl_app.experiment.saved_models import SavedModels
from fl_app.plots.run_pictures import write_pictures
from fl_app.privacy.run_privacy import Privacy
from fl_app.results.digests import config_digest, weights_digest
from fl_app.results.run_directory import RunDirectory
from fl_app.tasks.model.parameters import state_arrays
from fl_app.tasks.registry import task_settings
from fl_app.tasks.server_data import ServerData
from fl_app.tasks.task import all_metrics

_PACKAGES = ("delta-fedavg", "flwr", "torch", "torchvision", "numpy")
_ROUNDS_NAMED = 10

AGREEMENT = "agreement"
"""In a run's identity: what its participants agreed on before round 1."""


class RunFailedError(UserError):
    """A run that came to its end and has nothing to show for it, or not where it should be."""


@dataclass
class Run:
    """One run's identity, written to its directory at the start and at the end.

    Attributes:
        config: The run config.
        data: What the server knows of the data.
        model: A model of the kind that is trained.
        directory: Where results go.
        privacy: Differential privacy, where it is on.
        not_written: Which results are not in the directory, why, and where they are instead.
        earlier_seconds: What earlier parts of a resumed run have taken.
    """

    config: RunConfig
    data: ServerData
    model: nn.Module
    directory: RunDirectory
    privacy: Privacy | None = None
    not_written: str | None = None
    earlier_seconds: float = 0.0
    _start: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        """Return the seconds that the run has taken, earlier parts of it included."""
        return self.earlier_seconds + time.monotonic() - self._start

    def write_start(self) -> None:
        """Write the resolved config."""
        self.directory.write_json("config.json", self.resolved_config())

    def resolved_config(self) -> dict[str, Any]:
        """Return the run config with `auto` resolved, and what it ran on."""
        return {
            "run-config": self._resolved_settings(),
            "metrics": {
                name: {"better": metric.better, "percent": metric.percent}
                for name, metric in all_metrics(self.data.task).items()
            },
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in _PACKAGES},
        }

    def _resolved_settings(self) -> dict[str, Any]:
        """Return the run config with a data set for `auto`, unless the task brings its data."""
        settings: dict[str, Any] = self.config.as_run_config()
        brought = self.data.name == self.config.task
        return settings if brought else settings | {"dataset": self.data.name}

    def continue_from(self, checkpoint: Checkpoint) -> None:
        """Bring the directory back to the moment of a checkpoint of this run.

        Raises:
            ResumeError: If the checkpoint is of another run, or the history is damaged.
        """
        check_identity(checkpoint, self.identity())
        try:
            self.directory.restore(
                checkpoint.metrics_bytes, checkpoint.weights, checkpoint.strategy
            )
        except (OSError, ValueError) as error:
            raise ResumeError(f"resume: the history cannot be restored: {error}") from error
        self.earlier_seconds = checkpoint.elapsed_seconds
        log(INFO, "resumed after round %s", checkpoint.server_round)

    def identity(self) -> dict[str, Any]:
        """Return what decides the results; the same on resume, or it is another run."""
        settings = self._resolved_settings()
        partition, agreement = self.data.partition, self.data.agreement
        identity = run_identity(settings, "" if partition is None else partition.sha256)
        return identity | ({AGREEMENT: agreement} if agreement else {})

    @cached_property
    def models(self) -> SavedModels:
        """The final and the best model, as they are saved."""
        return SavedModels(self.directory, partial(state_arrays, self.model), self._model_metadata)

    def _model_metadata(self) -> dict[str, str]:
        return {
            "task": self.config.task,
            "task-settings": json.dumps(task_settings(self.config, self.data.name)),
            "model": self.config.model,
            "dataset": self.data.name,
            "local-parameters": self.config.local_parameters,
            **self.data.metadata,
        }

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of config, partition and, once there are any, weights."""
        identity = self.identity()
        digests = {"config": config_digest(identity), "partition": identity["partition-sha256"]}
        if self.directory.weights is not None:
            digests["weights"] = weights_digest(self.directory.weights)
        return digests

    def ended_by(self, reason: str) -> str:
        """Return why the run ended, how many of its rounds changed nothing, and if it diverged."""
        if any(report.diverged for report in self.directory.reports[-1:]):
            reason += "; the loss of the final model is not finite"
        rounds = [report for report in self.directory.reports if report.server_round > 0]
        idle = [report.server_round for report in rounds if not report.aggregated]
        if not idle:
            return reason
        if len(idle) == len(rounds):
            return (
                f"{reason}, but no round changed the model, which is the initial one; in the last "
                f"round: {why_unchanged(rounds[-1])}"
            )
        which = ", ".join(map(str, idle[:_ROUNDS_NAMED]))
        more = ", ..." if len(idle) > _ROUNDS_NAMED else ""
        return f"{reason}; {len(idle)} of {len(rounds)} rounds changed nothing: {which}{more}"

    def check_outcome(self, reason: str) -> None:
        """Refuse to call a run a success that learned nothing, diverged, or lacks files.

        Raises:
            RunFailedError: If no round changed the model, the final one's loss is not finite, or
                `write_results` could not write all.
        """
        reports = self.directory.reports
        faults = [] if self.not_written is None else [self.not_written]
        trained = [report for report in reports if report.server_round > 0]
        learned = any(report.aggregated for report in trained) and not trained[-1].diverged
        if faults or (trained and not learned):
            raise RunFailedError("; ".join([reason, *faults]))

    def write_results(self, reason: str, best: BestModel) -> None:
        """Write model, plots and summary, and tell where they are.

        Args:
            reason: Why the run ended.
            best: Knows the best round.
        """
        directory = self.directory
        self.models.write_final()
        # Pictures take seconds, and Flower gives an app that is stopped five.
        summary = self._summary(reason, best) | {"not_written": {}}
        directory.write_json("summary.json", summary)
        write_pictures(directory, self.config, self.data)
        self.models.tidy()
        now = directory.second_place.now
        not_written = {name: str(now[name]) if name in now else None for name in directory.rescue()}
        summary |= {"seconds": round(self.elapsed(), 3), "not_written": not_written}
        directory.write_json("summary.json", summary)
        if reasons := directory.rescue():  # the summary may be among them now
            self.not_written = directory.second_place.tell(directory.path, reasons)
            log(ERROR, "%s", self.not_written)
        log(INFO, "ended after %s: %s", format_duration(summary["seconds"]), reason)
        for name, digest in summary["sha256"].items():
            if digest:  # participants with data of their own have no common partition
                log(INFO, "sha256 of %s: %s", name, digest)
        log(INFO, "results: %s", directory.path)

    def _model_name(self) -> str | None:
        """Return the model that the run config names; `None` where the task has its own."""
        named = "model" in task_settings(self.config)
        return self.config.model if named else None

    def _summary(self, reason: str, best: BestModel) -> dict[str, Any]:
        reports = self.directory.reports
        last = reports[-1] if reports else None
        return {
            "reason": reason,
            "rounds": last.server_round if last else 0,
            "task": self.config.task,
            "dataset": self.data.name,
            "model": self._model_name(),
            "participants": self.config.num_participants,
            "central": last.central.as_row() if last and last.central else None,
            "federated": last.federated.as_row() if last and last.federated else None,
            "best": {"round": best.best_round, str(best.objective): best.best},
            "privacy": None if self.privacy is None else self.privacy.summary(),
            "unchanged_rounds": sum(r.server_round > 0 and not r.aggregated for r in reports),
            "failures": sum(len(report.failures) for report in reports),
            "bytes_up": sum(report.bytes_up for report in reports),
            "bytes_down": sum(report.bytes_down for report in reports),
            "seconds": round(self.elapsed(), 3),
            "sha256": self.digests(),
        }


def _version(package: str) -> str:
    if package == "torch":
        return str(torch.__version__)
    try:
        return version(package)
    except ImportError:
        return "not installed"
