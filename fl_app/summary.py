"""What a run is, at its start and at its end."""

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from logging import INFO
from typing import Any

import numpy as np
import torch
from flwr.common.logger import log
from numpy.typing import NDArray
from torch import nn

from fl_app.artifacts import RunDirectory, config_digest, weights_digest
from fl_app.config import RunConfig
from fl_app.data import Dataset
from fl_app.models import travelling_names
from fl_app.partition import label_counts, partition_digest
from fl_app.plots import plot_label_distribution
from fl_app.progress import format_duration

# What decides where a run reads and writes, but not what it computes.
_PLACES = ("data-dir", "output-dir")
_PACKAGES = ("delta-fedavg", "flwr", "torch", "torchvision", "numpy")


@dataclass
class Run:
    """One run's identity, written to its directory at the start and at the end.

    Attributes:
        config: The run config.
        dataset: The data set in use.
        model: A model of the kind that is trained.
        parts: Who holds which training examples.
        directory: Where results go.
    """

    config: RunConfig
    dataset: Dataset
    model: nn.Module
    parts: Sequence[NDArray[np.int64]]
    directory: RunDirectory
    _start: float = field(default_factory=time.monotonic)

    def write_start(self) -> None:
        """Write the resolved config and the partition plot."""
        self.directory.write_json("config.json", self.resolved_config())
        labels = self.dataset.train.labels.numpy()
        counts = label_counts(labels, self.parts, len(self.dataset.class_names))
        title = f"{self.dataset.name}, {self.config.partitioner}: examples by participant"
        self.directory.write_plot(
            "partition.png",
            lambda path: plot_label_distribution(counts, self.dataset.class_names, path, title),
        )

    def resolved_config(self) -> dict[str, Any]:
        """Return the run config with `auto` resolved, and what it ran on."""
        return {
            "run-config": self.config.as_run_config() | {"dataset": self.dataset.name},
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in _PACKAGES},
        }

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of config, partition and, once there are any, weights."""
        settings = self.config.as_run_config() | {"dataset": self.dataset.name}
        digests = {
            "config": config_digest({k: v for k, v in settings.items() if k not in _PLACES}),
            "partition": partition_digest(list(self.parts)),
        }
        if self.directory.weights is not None:
            digests["weights"] = weights_digest(self.directory.weights)
        return digests

    def write_results(self, reason: str) -> None:
        """Write model, plot and summary, and tell where they are.

        Args:
            reason: Why the run ended.
        """
        directory, weights = self.directory, self.directory.weights
        title = f"{self.config.model} on {self.dataset.name}, {len(self.parts)} participants"
        directory.write_history_plot(title)
        if weights is not None:
            metadata = {"model": self.config.model, "dataset": self.dataset.name}
            directory.write_model(weights, travelling_names(self.model), metadata)
        summary = self._summary(reason)
        directory.write_json("summary.json", summary)
        log(INFO, "ended after %s: %s", format_duration(summary["seconds"]), reason)
        for name, digest in summary["sha256"].items():
            log(INFO, "sha256 of %s: %s", name, digest)
        log(INFO, "results: %s", directory.path)

    def _summary(self, reason: str) -> dict[str, Any]:
        reports = self.directory.reports
        last = reports[-1] if reports else None
        return {
            "reason": reason,
            "rounds": last.server_round if last else 0,
            "dataset": self.dataset.name,
            "model": self.config.model,
            "participants": len(self.parts),
            "central": asdict(last.central) if last and last.central else None,
            "federated": asdict(last.federated) if last and last.federated else None,
            "failures": sum(len(report.failures) for report in reports),
            "bytes_up": sum(report.bytes_up for report in reports),
            "bytes_down": sum(report.bytes_down for report in reports),
            "seconds": round(time.monotonic() - self._start, 3),
            "sha256": self.digests(),
        }


def _version(package: str) -> str:
    if package == "torch":
        return str(torch.__version__)
    try:
        return version(package)
    except ImportError:
        return "not installed"
