"""Errors of a disk that takes no more."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from fl_app.core import atomic_io

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(error: OSError) -> Callable[..., Any]:
    def raising(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    return raising


def fill_up(
    patch: pytest.MonkeyPatch, folders: Iterable[Path], files: Callable[[Path], bool] | None = None
) -> None:
    """Let no file of a run directory be written below these folders.

    Args:
        patch: Undoes it.
        folders: Those on the full disk.
        files: Which files do not fit any more; by default all.
    """
    full = tuple(folder.resolve() for folder in folders)
    append, replace = atomic_io.append_durably, atomic_io.write_atomically

    def check(path: Path) -> None:
        below = any(path.resolve().is_relative_to(folder) for folder in full)
        if below and (files is None or files(path)):
            raise FULL

    def write(path: Path, content: bytes) -> None:
        check(path)
        replace(path, content)

    def add(path: Path, text: str) -> None:
        check(path)
        append(path, text)

    patch.setattr("fl_app.results.run_directory.write_atomically", write)
    patch.setattr("fl_app.results.run_directory.append_durably", add)
