"""The whole application in this process, over a `InProcessGrid`; can be killed at a chosen point.

    python -m tests.support.local_run CONFIG.json [POINT COUNT]

kills the process with SIGKILL when it comes to POINT for the COUNT-th time.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from fl_app.core import atomic_io
from fl_app.privacy import run_privacy
from fl_app.results import run_directory
from fl_app.training import local_training, update_pipeline
from scripts.harness.in_process_run import run_app, run_on

__all__ = ["POINTS", "die_at", "run_app", "run_on", "summary_of"]

POINTS = ("train", "metrics", "partial", "replace")
"""Those that every run comes to."""


def summary_of(directory: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return summary


def die_at(point: str, count: int) -> None:
    """Arrange for SIGKILL at the `count`-th passage of a point."""
    passages = iter(range(1, count + 1))

    def pass_or_die() -> None:
        if next(passages) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    if point == "train":  # in the middle of a round
        train = local_training.local_update

        def dying_update(*args: Any, **kwargs: Any) -> Any:
            pass_or_die()
            return train(*args, **kwargs)

        update_pipeline.local_update = dying_update  # type: ignore[attr-defined]
    elif point == "metrics":  # between the history and the checkpoint
        os_fsync = os.fsync

        def dying_fsync(fd: Any) -> None:
            os_fsync(fd)
            if Path(f"/proc/self/fd/{fd}").readlink().name == "metrics.jsonl":
                pass_or_die()

        os.fsync = dying_fsync
    elif point == "partial":  # half-way through writing a checkpoint
        write_atomically = atomic_io.write_atomically

        def dying_write(path: Path, content: bytes) -> None:
            if path.name == "checkpoint.safetensors":
                partial = path.with_name(f".{path.name}.partial")
                partial.write_bytes(content[: len(content) // 2])
                pass_or_die()
            write_atomically(path, content)

        run_directory.write_atomically = dying_write  # type: ignore[attr-defined]
    elif point == "replace":  # the new checkpoint is whole, the old one still in place
        path_replace = Path.replace

        def dying_replace(self: Path, target: Path) -> Path:
            if target.name == "checkpoint.safetensors":
                pass_or_die()
            return path_replace(self, target)

        Path.replace = dying_replace  # type: ignore[assignment,method-assign]
    elif point == "ledger":  # a round's spending is saved, and nothing else of it
        write_ledger = atomic_io.write_atomically

        def dying_ledger(path: Path, content: bytes) -> None:
            write_ledger(path, content)
            pass_or_die()

        run_privacy.write_atomically = dying_ledger  # type: ignore[attr-defined]
    else:
        raise ValueError(f"{point} is not one of {POINTS}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        die_at(sys.argv[2], int(sys.argv[3]))
    print(run_app(json.loads(Path(sys.argv[1]).read_text())), flush=True)
