"""Bring dataset files into the data folder, so that none is ever seen half-written."""

import contextlib
import http.client
import os
import shutil
import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from fl_app.core.errors import DataError

Fetch = Callable[[Path], Path]
"""Downloads into the empty folder it is given and returns the folder that holds the files."""

_STALLED_SECONDS = 30.0
_LOCK_SECONDS = 900.0
_FETCH_ERRORS = (RuntimeError, OSError, EOFError, ValueError, http.client.HTTPException, zlib.error)


def ensure_files(
    name: str, folder: Path, files: Sequence[str], fetch: Fetch, check: Callable[[Path], object]
) -> None:
    """Make sure that a dataset's files are there, downloading them at most once.

    Files that are there are neither locked nor written, so a read-only folder works. Otherwise
    one process at a time downloads into a hidden sibling of `folder` (same filesystem), checks
    what came, and moves each file into place with an atomic rename. What a killed download left
    behind is removed by the next one.

    Args:
        name: The dataset's run-config name, for messages.
        folder: Where the files belong.
        files: Their names in `folder`.
        fetch: Downloads all of `files`.
        check: Raises `DataError` if the files in the folder it is given are not sound.

    Raises:
        DataError: If the files cannot be downloaded or written, or fail `check`.
    """
    if _present(folder, files):
        return
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=_LOCK_SECONDS):
            if _present(folder, files):
                return
            try:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                source = _fetched(name, folder, fetch, partial)
                check(source)
                folder.mkdir(exist_ok=True)
                for file in files:
                    os.replace(source / file, folder / file)  # noqa: PTH105  (the atomic one)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except Timeout as error:
        raise DataError(
            f"Another process has been downloading dataset '{name}' into {folder} for "
            f"{_LOCK_SECONDS / 60:.0f} minutes. Stop it and run again."
        ) from error
    except OSError as error:
        raise DataError(
            f"Dataset '{name}' is not in {folder}, and it cannot be put there: "
            f"{error.strerror or error}. Set data-dir to a folder you may write to, "
            "or to one that holds the files."
        ) from error


def torchvision_fetch(class_name: str) -> Fetch:
    """A `Fetch` that uses torchvision's downloader, with its mirrors and checksums.

    Args:
        class_name: A relative of `torchvision.datasets.MNIST`.

    Returns:
        The download function. Its errors are torchvision's and urllib's; it gives up when a
        server is silent for 30 seconds.
    """

    def fetch(folder: Path) -> Path:
        from torchvision import datasets  # slow, and rarely needed

        with _stalled_connections_fail():
            getattr(datasets, class_name)(root=folder, train=False, download=True)
        return folder / class_name / "raw"

    return fetch


def _present(folder: Path, files: Sequence[str]) -> bool:
    return all((folder / file).is_file() for file in files)


def _fetched(name: str, folder: Path, fetch: Fetch, partial: Path) -> Path:
    try:
        return fetch(partial)
    except _FETCH_ERRORS as error:
        raise DataError(
            f"Dataset '{name}' is not in {folder}, and its download failed "
            f"({type(error).__name__}; is there a network connection?). Copy its files there, "
            'set data-dir to a folder that holds them, or use dataset="digits", '
            "which needs no download."
        ) from error


@contextlib.contextmanager
def _stalled_connections_fail() -> Iterator[None]:
    """Give urllib a timeout, which torchvision does not let one pass.

    The default is the process's, so sockets that other threads open meanwhile get it too.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALLED_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
