"""Files are replaced whole or not at all."""

import os
import resource
from pathlib import Path

import pytest

from fl_app.core.atomic_io import write_atomically
from tests.support.full_disk import FULL, fail


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"

    write_atomically(path, b"old")
    write_atomically(path, b"new")

    assert path.read_bytes() == b"new"
    assert files_in(tmp_path) == {"file"}


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        if broken == "fsync":
            patch.setattr(os, "fsync", fail(FULL))
        else:
            patch.setattr(Path, "replace", fail(FULL))
            patch.setattr(os, "replace", fail(FULL))
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, b"new, and longer")

    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == {"file"}


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="large"):
            write_atomically(path, bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == {"file"}


def test_the_new_file_is_on_disk_before_the_old_one_goes(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    seen: list[bytes] = []
    fsync = os.fsync

    def watching(fd: int) -> None:
        seen.append(path.read_bytes())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watching)
    write_atomically(path, b"new")

    assert seen[0] == b"old"
