"""Atomic checkpoints and exact resume.

A run's state between two rounds is small, because all its random numbers are derived from
`(seed, round, participant)`: the global weights, the number of the last round, and the
history. Weights and everything else that is small go, as one snapshot of one moment, into one
file that is replaced atomically. The history is `metrics.jsonl`, whose length at the time goes into
the checkpoint, so that rows written after it are cut off on resume.

What the strategy's parts remember (a server optimizer its moments, SCAFFOLD its control variate)
goes into the same file. What a participant remembers lies on its own disk, by round, and the
strategy knows which round to go on from: see `fl_app.training.client_state`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from fl_app.core.errors import ResumeError
from fl_app.core.run_config import DEFAULTS, MAY_CHANGE
from fl_app.results.digests import weights_digest
from fl_app.results.records import RoundReport
from fl_app.results.run_directory import RunDirectory
from strategies.core.client_update import Arrays
from strategies.core.state import StrategyState

CHECKPOINT = "checkpoint.safetensors"
_VERSION = 1
_STRATEGY = "strategy/"


@dataclass(frozen=True)
class Checkpoint:
    """State of a run between two rounds.

    Attributes:
        server_round: The last round done; 0 if only the initial model was evaluated.
        weights: The global weights after it.
        strategy: What the strategy's parts remember.
        identity: What must be the same on resume, see `check_identity`.
        metrics_bytes: Length of `metrics.jsonl` at the time.
        elapsed_seconds: Time the run had taken.
    """

    server_round: int
    weights: Arrays
    strategy: Mapping[str, NDArray[Any]]
    identity: Mapping[str, Any]
    metrics_bytes: int
    elapsed_seconds: float


class Checkpointer:
    """Saves a checkpoint after every `every` rounds; the last hook of the workflow."""

    def __init__(
        self,
        directory: RunDirectory,
        identity: Mapping[str, Any],
        elapsed: Callable[[], float],
        every: int = 1,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up.

        Args:
            directory: Where the checkpoint goes; it holds the history.
            identity: What must be the same on resume.
            elapsed: Returns the seconds that the run has taken so far.
            every: Rounds between two checkpoints.
            saved: Called when a checkpoint of the latest round is on disk.
        """
        self._directory = directory
        self._identity = identity
        self._elapsed = elapsed
        self._every = every
        self._saved = saved

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        """Save if it is time to; never ends the run."""
        if report.server_round % self._every == 0 and self.save():
            self._saved()
        return None

    def save(self) -> bool:
        """Save the latest snapshot, if there is one; tell whether it is written."""
        directory, snapshot = self._directory, self._directory.snapshot
        if snapshot is None:
            return False
        state = {
            "version": _VERSION,
            "server-round": directory.reports[-1].server_round,
            "identity": self._identity,
            "metrics-bytes": directory.append_rows(again=True),
            "elapsed-seconds": self._elapsed(),
            "weights-sha256": weights_digest(snapshot.weights),
        }
        tensors = {f"{index:06d}": array for index, array in enumerate(snapshot.weights)}
        tensors |= {_STRATEGY + name: array for name, array in snapshot.strategy.items()}
        return directory.write_tensors(CHECKPOINT, tensors, {"state": json.dumps(state)})


def checkpoint_file(run_directory: Path) -> Path:
    """Return the file of a run's checkpoint.

    Raises:
        ResumeError: If there is none.
    """
    path = run_directory / CHECKPOINT
    if not path.is_file():
        raise ResumeError(
            f"resume: {path} is not there; resume takes the directory of a run that has "
            f"finished at least its initial evaluation{_rescued(run_directory)}"
        )
    return path


def _rescued(run_directory: Path) -> str:
    """Say where the checkpoint of a run is that could not write it into its directory."""
    try:
        summary = json.loads((run_directory / "summary.json").read_text(encoding="utf-8"))
        now = summary["not_written"][CHECKPOINT]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return f". This run could not write it; it is {now}, copy it there" if now else ""


def load_checkpoint(run_directory: Path) -> Checkpoint:
    """Read the checkpoint of a run.

    Raises:
        ResumeError: If there is none, or it is damaged.
    """
    path = checkpoint_file(run_directory)
    try:
        with safe_open(path, framework="numpy") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        strategy = {
            name.removeprefix(_STRATEGY): array
            for name, array in tensors.items()
            if name.startswith(_STRATEGY)
        }
        weights = [array for name, array in tensors.items() if not name.startswith(_STRATEGY)]
        if state["version"] != _VERSION:
            raise ResumeError(
                f"resume: {path} has version {state['version']}, this release reads {_VERSION}"
            )
        if weights_digest(weights) != state["weights-sha256"]:
            raise ValueError("its weights are not those that were saved")
        return Checkpoint(
            server_round=state["server-round"],
            weights=weights,
            strategy=strategy,
            identity=state["identity"],
            metrics_bytes=state["metrics-bytes"],
            elapsed_seconds=state["elapsed-seconds"],
        )
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ResumeError(f"resume: {path} cannot be read: {error}") from error


def restore_strategy(strategy: StrategyState | None, checkpoint: Checkpoint) -> None:
    """Give a strategy what it remembered at the time of a checkpoint.

    Raises:
        ResumeError: If it is the memory of another strategy.
    """
    try:
        if strategy is not None:
            strategy.load_state(checkpoint.strategy)
        elif checkpoint.strategy:
            raise ValueError("this strategy remembers nothing")
    except ValueError as error:
        raise ResumeError(f"resume: the strategy's state does not fit: {error}") from error


def run_identity(run_config: Mapping[str, Any], partition_sha256: str) -> dict[str, Any]:
    """Return what decides a run's results: resume and comparison rest on it.

    Args:
        run_config: The run config with the data set resolved.
        partition_sha256: See `fl_app.data.partition.partition_digest`.
    """
    settings = {key: value for key, value in run_config.items() if key not in MAY_CHANGE}
    return settings | {"partition-sha256": partition_sha256}


def check_identity(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Refuse to continue a run as another one.

    A key of the run config that the checkpoint lacks is newer than it, and did not exist when the
    run began: it went on as with the key's default.

    Raises:
        ResumeError: If something that decides the results differs; lists the differences.
    """
    newer = {key: value for key, value in DEFAULTS.items() if key in identity}
    saved = {**newer, **checkpoint.identity}
    differences = [
        f"{key} was {saved.get(key, 'not set')}, is {identity.get(key, 'not set')}"
        for key in sorted(saved.keys() | identity.keys())
        if saved.get(key) != identity.get(key)
    ]
    if differences:
        raise ResumeError(
            "resume: the checkpoint is of another run config: " + "; ".join(differences)
        )
