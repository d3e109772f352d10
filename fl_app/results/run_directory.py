"""The run directory: everything a run leaves behind.

| file | what it holds |
| --- | --- |
| `config.json` | the run config with everything resolved: dataset used, package versions |
| `metrics.jsonl` | a row per round, one per participant and round; `fl_app.results.metrics_log` |
| `checkpoint.safetensors` | what it takes to continue; see `fl_app.callbacks.checkpoint` |
| `privacy.json` | how much privacy every participant has spent, where that is on |
| `summary.json` | final scores, why the run ended, SHA-256 of weights, config and partition |
| `model.safetensors` | the final model: its whole state dict |
| `best.safetensors` | those of the best round |
| `tensorboard/` | the same history as TensorBoard events |
| `history.png` | accuracy and loss by round |
| `communication.png` | accuracy and loss by megabytes sent |
| `participants.png` | how participants differ, by round |
| `partition.png` | label distribution per participant |
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from logging import ERROR
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from flwr.common.logger import log
from numpy.typing import NDArray
from safetensors.numpy import save

from fl_app.core.atomic_io import append_durably, write_atomically
from fl_app.core.errors import UserError
from fl_app.results.metrics_log import decode_rounds, encode_round, finite_or_null
from fl_app.results.records import RoundReport
from strategies.core.client_update import Arrays

METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
BEST_MODEL = "best.safetensors"


class RunDirectory:
    """Writes a run's results as they come; a hook of the workflow.

    A failure to write (a full disk, a folder that lost its permissions) is reported, and
    the run goes on: what is in memory is worth more than the file.

    Attributes:
        path: The absolute path of the directory.
        reports: Every round so far, round 0 included.
        weights: The global weights after the latest of them.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        """Make a directory for a new run, or open that of an earlier one.

        Args:
            path: Absolute path of the directory.
            resume: Whether it is there already.

        Raises:
            UserError: If it cannot be made or opened, or another process is using it.
        """
        self.path = path
        self.reports: list[RoundReport] = []
        self.weights: Arrays | None = None
        try:
            path.mkdir(parents=True, exist_ok=resume)
            self._lock = FileLock(path / ".lock", timeout=0)
            self._lock.acquire()
        except Timeout:
            raise UserError(f"another process is writing to the run directory {path}") from None
        except OSError as error:
            raise UserError(
                f"the run directory {path} cannot be made: {error.strerror}; set output-dir "
                "to a folder that can be written"
            ) from error

    def close(self) -> None:
        """Let another process use the directory."""
        self._lock.release()

    def metrics_bytes(self) -> int:
        """Return the length of `metrics.jsonl`."""
        path = self.path / METRICS
        return path.stat().st_size if path.exists() else 0

    def restore(self, metrics_bytes: int, weights: Arrays) -> None:
        """Go back to an earlier moment of the run: cut off rows written since.

        Args:
            metrics_bytes: Length of `metrics.jsonl` at that moment.
            weights: The global weights at that moment.

        Raises:
            ValueError: If `metrics.jsonl` is shorter than it was, or damaged.
        """
        path = self.path / METRICS
        if self.metrics_bytes() < metrics_bytes:
            raise ValueError(
                f"{path} has {self.metrics_bytes()} bytes, it had {metrics_bytes} at the checkpoint"
            )
        os.truncate(path, metrics_bytes)
        with path.open(encoding="utf-8") as file:
            self.reports = decode_rounds(file)
        self.weights = weights

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Append the round to `metrics.jsonl`; never ends the run."""
        self.reports.append(report)
        self.weights = weights
        self._try(METRICS, lambda path: append_durably(path, encode_round(report)))
        return None

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        text = json.dumps(finite_or_null(content), indent=2, allow_nan=False) + "\n"
        self._try(name, lambda path: write_atomically(path, text.encode()))

    def write_tensors(
        self, name: str, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
    ) -> bool:
        """Write named arrays with metadata in the safetensors format, whole or not at all.

        Returns:
            Whether they are written.
        """
        contiguous = {key: np.asarray(array, order="C") for key, array in tensors.items()}
        content = save(contiguous, dict(metadata))
        return self._try(name, lambda path: write_atomically(path, content))

    def write_plot(self, name: str, draw: Callable[[Path], None]) -> None:
        """Let `draw` write a picture to the path that it is given."""
        self._try(name, draw)

    def _try(self, name: str, write: Callable[[Path], None]) -> bool:
        try:
            write(self.path / name)
        except OSError as error:
            log(ERROR, "%s was not written, the run goes on: %s", self.path / name, error)
            return False
        return True


def weights_digest(weights: Arrays) -> str:
    """Return the SHA-256 of a model's weights: shapes, dtypes and every bit, in model order."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.asarray(array, order="C").data)
    return digest.hexdigest()


def config_digest(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a config, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
