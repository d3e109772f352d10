"""The run directory: everything a run leaves behind.

| file | what it holds |
| --- | --- |
| `config.json` | the run config with everything resolved: dataset used, package versions |
| `metrics.jsonl` | a row per round, one per participant and round; `fl_app.results.metrics_log` |
| `checkpoint.safetensors` | what it takes to continue; see `fl_app.callbacks.checkpoint` |
| `privacy.json` | how much privacy every participant has spent, where that is on |
| `summary.json` | final scores, why the run ended, SHA-256 of weights, config and partition |
| `model.safetensors` | the final model: its whole state dict |
| `best.safetensors` | the model of the best round, likewise |
| `best-before-resume.safetensors` | one that is of no round that the run still has |
| `tensorboard/` | the same history as TensorBoard events |
| `history.png` | accuracy and loss by round |
| `communication.png` | accuracy and loss by megabytes sent |
| `participants.png` | how participants differ, by round |
| `partition.png` | label distribution per participant |
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from flwr.common.logger import log
from numpy.typing import NDArray
from safetensors.numpy import save

from fl_app.core.atomic_io import append_durably, cut_back, write_atomically
from fl_app.core.errors import UserError
from fl_app.results.metrics_log import decode_rounds, encode_round, finite_or_null
from fl_app.results.records import RoundReport
from fl_app.results.second_place import SecondPlace, Write
from strategies.core.client_update import Arrays
from strategies.core.state import StrategyState

METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
BEST_MODEL = "best.safetensors"
ROUND = "round"
"""In the metadata of a model: after which round these were the weights."""


class _Unwritten(NamedTuple):
    """A file that could not be written: why, and what would write it; `None` if nothing would."""

    reason: str
    write: Write | None


@dataclass(frozen=True)
class Snapshot:
    """A run between two rounds: all of it is of the same round.

    Attributes:
        num_reports: How many rounds there are, round 0 included.
        weights: The global weights.
        strategy: What the strategy remembers.
    """

    num_reports: int
    weights: Arrays
    strategy: Mapping[str, NDArray[Any]]


class SavedRows(NamedTuple):
    """How much of the history is in `metrics.jsonl`: rounds, and bytes."""

    num_reports: int
    num_bytes: int


class RunDirectory:
    """Writes a run's results as they come; a hook of the workflow.

    A failure to write (a full disk, a folder that lost its permissions) is reported, and
    the run goes on: what is in memory is worth more than the file. It is remembered, so that
    `rescue` can try again in the end, and elsewhere.

    Attributes:
        path: The absolute path of the directory.
        snapshot: The run after its latest round; `None` before there is any.
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
        self.snapshot: Snapshot | None = None
        self.second_place = SecondPlace()
        self._strategy: StrategyState | None = None
        self._reports: list[RoundReport] = []
        self._saved = SavedRows(0, 0)
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

    @property
    def reports(self) -> list[RoundReport]:
        """Every round so far, round 0 included."""
        return [] if self.snapshot is None else self._reports[: self.snapshot.num_reports]

    @property
    def weights(self) -> Arrays | None:
        """The global weights after the latest round; `None` before there is any."""
        return None if self.snapshot is None else self.snapshot.weights

    def follow(self, strategy: StrategyState | None) -> None:
        """Let each snapshot have what a strategy remembers."""
        self._strategy = strategy

    def restore(
        self, metrics_bytes: int, weights: Arrays, strategy: Mapping[str, NDArray[Any]]
    ) -> None:
        """Go back to an earlier moment of the run: cut off rows written since.

        Args:
            metrics_bytes: Length of `metrics.jsonl` at that moment.
            weights: The global weights at that moment.
            strategy: What the strategy remembered.

        Raises:
            ValueError: If `metrics.jsonl` is shorter than it was, or damaged.
        """
        path = self.path / METRICS
        cut_back(path, metrics_bytes)
        with path.open(encoding="utf-8") as file:
            self._reports = decode_rounds(file)
        self._saved = SavedRows(len(self._reports), metrics_bytes)
        self.snapshot = Snapshot(len(self._reports), weights, strategy)

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Take the round in, and append it to `metrics.jsonl`; never ends the run.

        What is of the round is taken in at one moment, the assignment of the snapshot: whatever
        interrupts the run finds all of it or nothing.
        """
        strategy = {} if self._strategy is None else self._strategy.state()
        self._reports = [*self.reports, report]
        self.snapshot = Snapshot(len(self._reports), weights, strategy)
        self.append_rows()
        return None

    def append_rows(self, again: bool = False) -> int:
        """Append the rounds that are not in `metrics.jsonl` yet; return its length, in bytes."""
        reports, saved = self.reports, self._saved
        rows = "".join(map(encode_round, reports[saved.num_reports :]))

        def append(path: Path) -> None:
            try:
                cut_back(path, saved.num_bytes)  # an append may have been interrupted
                append_durably(path, rows)
            except ValueError:  # somebody has removed rows
                write_atomically(path, "".join(map(encode_round, reports)).encode())

        if rows and self._try(METRICS, append, again):
            self._saved = SavedRows(len(reports), (self.path / METRICS).stat().st_size)
        return self._saved.num_bytes

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
        self.append_rows(again=True)
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
