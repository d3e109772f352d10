"""The two models of a run directory: the final one, and that of the best round.

Each says in its metadata of which round it is, so that none is taken for another: after a resume
`best.safetensors` is of a round that the run still has, or it is not there.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from logging import WARNING
from pathlib import Path
from typing import Any

from flwr.common.logger import log
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from fl_app.callbacks.checkpoint import CHECKPOINT
from fl_app.results.run_directory import BEST_MODEL, MODEL, ROUND, RunDirectory
from strategies.core.client_update import Arrays

_BEFORE_CHECKPOINT = ".best-at-checkpoint.safetensors"
_PUT_ASIDE = "best-before-resume.safetensors"


class SavedModels:
    """Writes the final and the best model of a run."""

    def __init__(
        self,
        directory: RunDirectory,
        state: Callable[[Arrays], Mapping[str, NDArray[Any]]],
        metadata: Callable[[], Mapping[str, str]],
    ) -> None:
        """Set up.

        Args:
            directory: Where they go.
            state: From the weights to the model's whole state dict.
            metadata: Returns what a reader needs to know to use the weights.
        """
        self._directory = directory
        self._state = state
        self._metadata = metadata

    def write_final(self) -> None:
        """Write the weights after the last round; its round is the last that changed them."""
        weights = self._directory.weights
        if weights is not None:
            changed = [r.server_round for r in self._directory.reports if r.aggregated]
            self._write(MODEL, weights, changed[-1] if changed else 0)

    def keep_best(self, weights: Arrays) -> None:
        """Write the weights of the latest round as the best model.

        The one before is kept as long as a resume would go back to a checkpoint that is older
        than the new one.
        """
        path = self._directory.path
        before, saved = _round_of(path / BEST_MODEL), _checkpoint_round(path / CHECKPOINT)
        if before is not None and saved is not None and before <= saved:
            _link(path / BEST_MODEL, path / _BEFORE_CHECKPOINT)
        self._write(BEST_MODEL, weights, self._directory.reports[-1].server_round)

    def settle_best(self, best_round: int | None) -> None:
        """After a resume, let the best model be that of the best round that the run still has.

        Args:
            best_round: That round, `None` if there is none.
        """
        directory = self._directory
        best, before = directory.path / BEST_MODEL, directory.path / _BEFORE_CHECKPOINT
        if best_round is not None and _round_of(best) == best_round:
            return
        if directory.weights is not None and best_round == directory.reports[-1].server_round:
            self._write(BEST_MODEL, directory.weights, best_round)
        elif best_round is not None and _round_of(before) == best_round:
            before.replace(best)
        elif best.exists():
            aside = best.with_name(_PUT_ASIDE)
            best.replace(aside)
            log(
                WARNING,
                "%s was not of round %s, the best before the resume, whose weights are not kept; "
                "it is %s now",
                best,
                best_round,
                aside,
            )

    def tidy(self) -> None:
        """Remove what only a resume from an older checkpoint would need, once that is replaced."""
        path = self._directory.path
        best, saved = _round_of(path / BEST_MODEL), _checkpoint_round(path / CHECKPOINT)
        if best is not None and saved is not None and best <= saved:
            (path / _BEFORE_CHECKPOINT).unlink(missing_ok=True)

    def _write(self, name: str, weights: Arrays, server_round: int) -> None:
        metadata = {**self._metadata(), ROUND: str(server_round)}
        self._directory.write_tensors(name, self._state(weights), metadata)


def _round_of(model: Path) -> int | None:
    """Return the round that a model is of, if there is one and it says so."""
    try:
        return int(_metadata_of(model)[ROUND])
    except (LookupError, ValueError):
        return None


def _checkpoint_round(checkpoint: Path) -> int | None:
    """Return the round that a resume would go on from."""
    try:
        return int(json.loads(_metadata_of(checkpoint)["state"])["server-round"])
    except (LookupError, TypeError, ValueError):
        return None


def _metadata_of(file: Path) -> Mapping[str, str]:
    try:
        with safe_open(file, framework="numpy") as tensors:
            return tensors.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def _link(file: Path, other: Path) -> None:
    """Give a file a second name, which it keeps when the first is given to a new file."""
    partial = other.with_name(f"{other.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        try:
            os.link(file, partial)
        except OSError:  # a file system without links
            shutil.copyfile(file, partial)
        partial.replace(other)
    except OSError as error:
        partial.unlink(missing_ok=True)
        log(WARNING, "%s is not kept for a resume: %s", file, error)
