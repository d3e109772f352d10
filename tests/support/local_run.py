"""The whole application in this process, over a `InProcessGrid`; can be killed at a chosen point.

    python -m tests.support.local_run CONFIG.json [POINT COUNT [SIGNAL]]

kills the process with SIGKILL when it comes to POINT for the COUNT-th time. Another SIGNAL, such as
SIGINT, is handled as Flower handles it in the process of a deployed server app.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fl_app.core import atomic_io
from fl_app.privacy import run_privacy
from fl_app.results import run_directory
from fl_app.training import update_pipeline
from fl_app.training.local import local_training
from scripts.harness.in_process_run import run_app, run_on

__all__ = ["POINTS", "die_at", "digest", "metrics", "run_app", "run_on", "summary_of"]


def summary_of(directory: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return summary


def digest(directory: Path) -> str:
    weights: str = summary_of(directory)["sha256"]["weights"]
    return weights


def metrics(directory: Path, kind: str) -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def die_at(point: str, count: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Arrange for a signal at the `count`-th passage of a point."""
    if point not in _ARRANGE:
        raise ValueError(f"{point} is not one of {tuple(_ARRANGE)}")
    passages = iter(range(1, 1_000_000))

    def pass_or_die() -> None:
        if next(passages) == count:
            os.kill(os.getpid(), signum)

    _ARRANGE[point](pass_or_die)


def _in_the_middle_of_a_round(pass_or_die: Callable[[], None]) -> None:
    train = local_training.local_update

    def dying_update(*args: Any, **kwargs: Any) -> Any:
        pass_or_die()
        return train(*args, **kwargs)

    update_pipeline.local_update = dying_update  # type: ignore[attr-defined]


def _between_history_and_checkpoint(pass_or_die: Callable[[], None]) -> None:
    fsync = os.fsync

    def dying_fsync(fd: Any) -> None:
        fsync(fd)
        if Path(f"/proc/self/fd/{fd}").readlink().name == "metrics.jsonl":
            pass_or_die()

    os.fsync = dying_fsync


def _half_way_through_a_checkpoint(pass_or_die: Callable[[], None]) -> None:
    write_atomically = atomic_io.write_atomically

    def dying_write(path: Path, content: bytes) -> None:
        if path.name == "checkpoint.safetensors":
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(content[: len(content) // 2])
            pass_or_die()
        write_atomically(path, content)

    run_directory.write_atomically = dying_write  # type: ignore[attr-defined]


def _before_a_whole_checkpoint_is_renamed(pass_or_die: Callable[[], None]) -> None:
    replace = Path.replace

    def dying_replace(self: Path, target: Path) -> Path:
        if target.name == "checkpoint.safetensors":
            pass_or_die()
        return replace(self, target)

    Path.replace = dying_replace  # type: ignore[assignment,method-assign]


def _after_the_ledger_is_saved(pass_or_die: Callable[[], None]) -> None:
    write_ledger = atomic_io.write_atomically

    def dying_ledger(path: Path, content: bytes) -> None:
        write_ledger(path, content)
        pass_or_die()

    run_privacy.write_atomically = dying_ledger  # type: ignore[attr-defined]


def _after_the_best_model_is_written(pass_or_die: Callable[[], None]) -> None:
    write_atomically = run_directory.write_atomically  # type: ignore[attr-defined]

    def dying_write(path: Path, content: bytes) -> None:
        write_atomically(path, content)
        if path.name == "best.safetensors":
            pass_or_die()

    run_directory.write_atomically = dying_write  # type: ignore[attr-defined]


_ARRANGE: dict[str, Callable[[Callable[[], None]], None]] = {
    "train": _in_the_middle_of_a_round,
    "metrics": _between_history_and_checkpoint,
    "partial": _half_way_through_a_checkpoint,
    "replace": _before_a_whole_checkpoint_is_renamed,
    "ledger": _after_the_ledger_is_saved,
    "best": _after_the_best_model_is_written,
}
POINTS = tuple(point for point in _ARRANGE if point not in ("ledger", "best"))
"""Those that every run comes to in every round: a ledger is only in a private one."""


if __name__ == "__main__":
    if len(sys.argv) == 5:
        os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
        from flwr.common import EventType
        from flwr.supercore.exit import register_signal_handlers

        register_signal_handlers(EventType.FLWR_SERVERAPP_RUN_LEAVE, "Task stopped by user.")
        die_at(sys.argv[2], int(sys.argv[3]), signal.Signals[sys.argv[4]])
    elif len(sys.argv) == 4:
        die_at(sys.argv[2], int(sys.argv[3]))
    print(run_app(json.loads(Path(sys.argv[1]).read_text())), flush=True)
