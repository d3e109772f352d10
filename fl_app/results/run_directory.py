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
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from flwr.common.logger import log
from numpy.typing import NDArray
from safetensors.numpy import save

from fl_app.core.atomic_io import append_durably, write_atomically
from fl_app.core.errors import UserError
from fl_app.results.metrics_log import decode_rounds, encode_round, finite_or_null
from fl_app.results.records import RoundReport
from fl_app.results.second_place import SecondPlace, Write
from strategies.core.client_update import Arrays

METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
BEST_MODEL = "best.safetensors"
ROUND = "round"
"""In the metadata of a model: after which round these were the weights."""


class _Unwritten(NamedTuple):
    """A file that could not be written: why, and what would write it; `None` if nothing would."""

    reason: str
    write: Write | None


class RunDirectory:
    """Writes a run's results as they come; a hook of the workflow.

    A failure to write (a full disk, a folder that lost its permissions) is reported, and
    the run goes on: what is in memory is worth more than the file. It is remembered, so that
    `rescue` can try again in the end, and elsewhere.

    Attributes:
        path: The absolute path of the directory.
        reports: Every round so far, round 0 included.
        weights: The global weights after the latest of them.
        second_place: Where `rescue` puts what this directory does not take.
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
        self.second_place = SecondPlace()
        self._unsaved_rows = ""
        self._unwritten: dict[str, _Unwritten] = {}
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
        """Append the round, and those that could not be, to `metrics.jsonl`; never ends the run."""
        self.reports.append(report)
        self.weights = weights
        self._unsaved_rows += encode_round(report)
        self._append_rows()
        return None

    def _append_rows(self, again: bool = False) -> None:
        rows = self._unsaved_rows
        if self._try(METRICS, lambda path: append_durably(path, rows), again):
            self._unsaved_rows = ""

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
        """Let `draw` write a picture to the path that it is given; a run never ends by one."""

        def whole(path: Path) -> None:
            partial = path.with_name(f".partial-{path.name}")
            try:
                draw(partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

        try:
            self._try(name, whole)
        except Exception as error:  # what a library makes of numbers that nobody had thought of
            log(ERROR, "%s was not written, the run goes on: %r", self.path / name, error)
            self.gave_up(name, repr(error))

    def gave_up(self, name: str, reason: str) -> None:
        """Note that something of the results will not be there, which has been logged."""
        self._unwritten[name] = _Unwritten(reason, None)

    def rescue(self) -> dict[str, str]:
        """Try once more to write what could not be written, here, and then in `second_place`.

        Returns:
            Why a file is not in this directory, by its name.
        """
        if self._unsaved_rows:
            self._append_rows(again=True)
        files = {name: write for name, (_, write) in self._unwritten.items() if write is not None}
        for name, write in files.items():
            if name != METRICS:
                self._try(name, write, again=True)
        if METRICS in self._unwritten:  # elsewhere there are no rows to append to
            text = "".join(map(encode_round, self.reports)).encode()
            files[METRICS] = lambda path: write_atomically(path, text)
        self.second_place.take({n: write for n, write in files.items() if n in self._unwritten})
        return {name: reason for name, (reason, _) in self._unwritten.items()}

    def _try(self, name: str, write: Write, again: bool = False) -> bool:
        try:
            write(self.path / name)
        except OSError as error:
            if not again:
                log(ERROR, "%s was not written, the run goes on: %s", self.path / name, error)
            self._unwritten[name] = _Unwritten(error.strerror or str(error), write)
            return False
        self._unwritten.pop(name, None)
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
