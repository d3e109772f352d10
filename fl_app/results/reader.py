"""Reading a run directory back: the counterpart of `fl_app.results.run_directory`."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl_app.core.errors import UserError
from fl_app.core.metrics import LOSS, LOSS_METRIC, Metric
from fl_app.core.plugins import AUTO_DATA
from fl_app.results.metrics_log import decode_rounds
from fl_app.results.records import ParticipantReport, RoundReport

CONFIG, METRICS, SUMMARY = "config.json", "metrics.jsonl", "summary.json"
MODEL, BEST_MODEL = "model.safetensors", "best.safetensors"
UNFINISHED = "no summary: still running, or killed"


@dataclass(frozen=True)
class RunResults:
    """What is known of a run, finished or not.

    Attributes:
        path: The run directory.
        rounds: Every round so far, round 0 included, with its participants. A round that
            was being written when the run was killed may lack some participants.
        config: `config.json`: `run-config`, `python` and `packages`.
        summary: `summary.json`, or `None` for a run that goes on or was killed.
    """

    path: Path
    rounds: list[RoundReport]
    config: dict[str, Any]
    summary: dict[str, Any] | None

    @property
    def run_config(self) -> dict[str, Any]:
        """The settings, under their run-config keys."""
        settings: dict[str, Any] = self.config["run-config"]
        return settings

    @property
    def dataset(self) -> str:
        """The name of the data set in use."""
        dataset = str(self.run_config.get("dataset", "unknown"))
        return str(self.run_config.get("task", dataset)) if dataset == AUTO_DATA else dataset

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics of the task by name, the loss last; runs of earlier releases had these two.

        Their values are in the rounds: what stands here says which are better, and how to show
        them.
        """
        found = self.config.get("metrics") or {"accuracy": {"better": "higher", "percent": True}}
        known = {n: Metric(m["better"], bool(m["percent"])) for n, m in found.items()}
        return {**known, LOSS: LOSS_METRIC}

    @property
    def reason(self) -> str:
        """Why the run ended, or that it has not."""
        return str(self.summary.get("reason", "")) if self.summary else UNFINISHED

    @property
    def seconds(self) -> float:
        """Wall-clock time: of the whole run, or of its rounds while there is no summary."""
        rounds = sum(report.seconds for report in self.rounds)
        return float(self.summary.get("seconds", rounds)) if self.summary else rounds

    @property
    def weights_digest(self) -> str | None:
        """The SHA-256 of the final weights, once there is a summary."""
        digests = self.summary.get("sha256") if self.summary else None
        return digests.get("weights") if isinstance(digests, dict) else None

    def participants(self) -> Iterator[tuple[int, ParticipantReport]]:
        """Yield everybody who was asked to train, with the round, in order."""
        for report in self.rounds:
            for participant in report.participants:
                yield report.server_round, participant


def megabytes_so_far(rounds: Sequence[RoundReport]) -> list[float]:
    """Return what was communicated up to and with each round, both ways, in units of 1e6 bytes."""
    sizes = [report.bytes_up + report.bytes_down for report in rounds]
    return [float(total) / 1e6 for total in np.cumsum(sizes)]


def load_run(path: Path) -> RunResults:
    """Read a run directory, also while the run goes on and after it was killed.

    A last line of `metrics.jsonl` that is not complete is left out. A loss that was not
    finite is NaN.

    Raises:
        UserError: If `path` is no run directory, or a file in it cannot be read.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder" if path.exists() else f"{path} does not exist")
    if not (path / CONFIG).exists() and not (path / METRICS).exists():
        raise UserError(f"{path} is not a run directory: it holds neither {CONFIG} nor {METRICS}")
    config = read_object(path / CONFIG)
    if not isinstance(config.get("run-config"), dict):
        raise UserError(f"{path / CONFIG} has no run-config")
    summary = read_object(path / SUMMARY) if (path / SUMMARY).exists() else None
    rounds = _read_rounds(path / METRICS)
    if summary and rounds and rounds[-1].server_round > summary.get("rounds", math.inf):
        summary = None  # that of an earlier part of the run, which has been resumed since
    return RunResults(path, rounds, config, summary)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; `UserError` if there is none that can be read."""
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return content


def _read_rounds(path: Path) -> list[RoundReport]:
    if not path.exists():  # the run has not come to its first evaluation
        return []
    complete, _, _torn = _read(path).rpartition(b"\n")
    try:
        return decode_rounds(complete.decode().splitlines())
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
