"""The run directory: everything a run leaves behind.

| file | what it holds |
| --- | --- |
| `config.json` | the run config with everything resolved: dataset used, package versions |
| `metrics.jsonl` | one row per round and one per participant and round; see `round_rows` |
| `summary.json` | final scores, why the run ended, SHA-256 of weights, config and partition |
| `model.safetensors` | the final weights under the model's own names |
| `history.png` | accuracy and loss by round |
| `partition.png` | label distribution per participant |
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from logging import ERROR
from pathlib import Path
from typing import Any

import numpy as np
from flwr.common import Parameters
from flwr.common.logger import log
from safetensors.numpy import save

from fl_app.errors import UserError
from fl_app.plots import plot_history
from fl_app.reports import RoundReport
from strategies.updates import Arrays
from strategies.wire import decode_arrays

SCHEMA_VERSION = 1


class RunDirectory:
    """Writes a run's results as they come; a hook of the workflow.

    A failure to write (a full disk, a folder that lost its permissions) is reported, and
    the run goes on: what is in memory is worth more than the file.

    Attributes:
        path: The absolute path of the directory.
        reports: Every round so far, round 0 included.
        weights: The global weights after the latest of them.
    """

    def __init__(self, path: Path) -> None:
        """Make the directory.

        Raises:
            UserError: If it cannot be made, before anything has been computed.
        """
        self.path = path
        self.reports: list[RoundReport] = []
        self.weights: Arrays | None = None
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"the run directory {path} cannot be made: {error.strerror}; set output-dir "
                "to a folder that can be written"
            ) from error

    def after_round(self, report: RoundReport, parameters: Parameters) -> str | None:
        """Append the round to `metrics.jsonl`; never ends the run."""
        self.reports.append(report)
        self.weights = decode_arrays(parameters.tensors)
        rows = "".join(json.dumps(row, allow_nan=False) + "\n" for row in round_rows(report))
        self._try("metrics.jsonl", lambda path: _append(path, rows))
        return None

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        self._try(name, lambda path: write_atomically(path, text.encode()))

    def write_model(
        self, weights: Arrays, names: Sequence[str], metadata: Mapping[str, str]
    ) -> None:
        """Write `model.safetensors`, whole or not at all.

        Args:
            weights: One array per name.
            names: The names in the model's state dict.
            metadata: What a reader needs to know to use the weights.
        """
        tensors = {
            name: np.ascontiguousarray(array) for name, array in zip(names, weights, strict=True)
        }
        content = save(tensors, dict(metadata))
        self._try("model.safetensors", lambda path: write_atomically(path, content))

    def write_history_plot(self, title: str) -> None:
        """Write `history.png` from the rounds so far."""
        central = [report.central for report in self.reports]
        federated = [report.federated for report in self.reports]
        self.write_plot(
            "history.png",
            lambda path: plot_history(
                rounds=[report.server_round for report in self.reports],
                central_accuracy=[score.accuracy if score else None for score in central],
                central_loss=[score.loss if score else None for score in central],
                federated_accuracy=[score.accuracy if score else None for score in federated],
                federated_loss=[score.loss if score else None for score in federated],
                path=path,
                title=title,
            ),
        )

    def write_plot(self, name: str, draw: Callable[[Path], None]) -> None:
        """Let `draw` write a picture to the path that it is given."""
        self._try(name, draw)

    def _try(self, name: str, write: Callable[[Path], None]) -> None:
        try:
            write(self.path / name)
        except OSError as error:
            log(ERROR, "%s was not written, the run goes on: %s", self.path / name, error)


def round_rows(report: RoundReport) -> Iterator[dict[str, Any]]:
    """Turn a round into rows of `metrics.jsonl`.

    The first row has `"kind": "round"` and the fields of `RoundReport`; then comes one with
    `"kind": "participant"` and the fields of `ParticipantReport` for everybody who was asked
    to train. Losses are in nats, times in seconds; what is unknown or not finite is null.
    """
    fields = asdict(report)
    participants = fields.pop("participants")
    head = {"schema": SCHEMA_VERSION, "kind": "round", "seconds": report.seconds}
    yield _finite({**head, **fields})
    for participant in participants:
        head = {"schema": SCHEMA_VERSION, "kind": "participant"}
        yield _finite({**head, "server_round": report.server_round, **participant})


def weights_digest(weights: Arrays) -> str:
    """Return the SHA-256 of a model's weights: shapes, dtypes and every bit, in model order."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def config_digest(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a config, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a crash, sees the old or the new one, never a part.

    Raises:
        OSError: If it cannot be written; the old file is untouched then.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _finite(value: Any) -> Any:  # noqa: ANN401 - walks any JSON value
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
