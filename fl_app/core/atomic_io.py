"""Files that are whole, whatever happens while they are written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a crash, sees the old or the new one, never a part.

    Raises:
        OSError: If it cannot be written; the old file is untouched then.
    """

    def write(file: BinaryIO) -> None:
        file.write(content)

    replace_atomically(path, write)


def replace_atomically(path: Path, write: Callable[[BinaryIO], None], mode: int = 0o666) -> None:
    """Replace a file as `write_atomically` does, with what `write` writes.

    Args:
        path: The file.
        write: Is given the file to write to.
        mode: The new file's permissions, less those that the umask takes away.

    Raises:
        OSError: If it cannot be written; the old file is untouched then.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a path opens with no mode
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_directory(path.parent)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def cut_back(path: Path, num_bytes: int) -> None:
    """Cut off what has been appended to a file since it had a length.

    Raises:
        ValueError: If it is shorter than that.
        OSError: If it cannot be cut.
    """
    length = path.stat().st_size if path.exists() else 0
    if length < num_bytes:
        raise ValueError(f"{path} has {length} bytes, it had {num_bytes} at the checkpoint")
    if length > num_bytes:
        os.truncate(path, num_bytes)


def append_durably(path: Path, text: str) -> None:
    """Append to a file, durably; a write that fails half-way is taken back."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            remaining = memoryview(text.encode())
            while remaining:
                remaining = remaining[file.write(remaining) :]
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, before)
            raise


def _sync_directory(directory: Path) -> None:
    """Make a replacement of a file in it survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
