import socket
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from fl_app.core.errors import DataError
from fl_app.data import datasets, download
from fl_app.data.datasets import load_dataset
from tests.support.idx_files import FILES, write_idx_set


@pytest.fixture(autouse=True)
def _fresh_cache():
    load_dataset.cache_clear()


@pytest.fixture
def offline(monkeypatch):
    """Downloads fail at once; gives the folders in which they were tried."""
    tried: list[Path] = []

    def fetch(folder: Path) -> Path:
        tried.append(folder)
        (folder / "half-a-file").write_bytes(b"...")
        raise OSError("no network")

    monkeypatch.setattr(datasets, "torchvision_fetch", lambda class_name: fetch)
    return tried


def left_in(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_a_download_is_put_in_place_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(
        datasets, "torchvision_fetch", lambda _: lambda folder: write_idx_set(folder)
    )
    assert len(load_dataset("mnist", tmp_path).train) == 4
    assert sorted(left_in(tmp_path)) == sorted(FILES)
    assert {p.name for p in (tmp_path / "MNIST").iterdir()} <= {"raw", ".raw.lock"}


def test_only_the_missing_file_needs_deleting(tmp_path, monkeypatch):
    raw = write_idx_set(tmp_path / "MNIST" / "raw")
    (raw / "t10k-labels-idx1-ubyte").unlink()
    monkeypatch.setattr(
        datasets, "torchvision_fetch", lambda _: lambda folder: write_idx_set(folder)
    )
    assert len(load_dataset("mnist", tmp_path).test) == 2


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError, RuntimeError, EOFError])
def test_an_interrupted_download_leaves_no_file(tmp_path, monkeypatch, interruption):
    def fetch(folder: Path) -> Path:
        write_idx_set(folder)
        raise interruption

    monkeypatch.setattr(datasets, "torchvision_fetch", lambda _: fetch)
    expected = DataError if interruption is not KeyboardInterrupt else KeyboardInterrupt
    with pytest.raises(expected):
        load_dataset("mnist", tmp_path)
    assert left_in(tmp_path) == []


def test_a_broken_download_is_not_put_in_place(tmp_path, monkeypatch):
    def fetch(folder: Path) -> Path:
        (write_idx_set(folder) / "t10k-labels-idx1-ubyte").write_bytes(b"<html>")
        return folder

    monkeypatch.setattr(datasets, "torchvision_fetch", lambda _: fetch)
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte"):
        load_dataset("mnist", tmp_path)
    assert left_in(tmp_path) == []


def test_what_a_killed_download_left_is_cleared_away(tmp_path, monkeypatch):
    stale = tmp_path / "MNIST" / ".raw.partial"
    stale.mkdir(parents=True)
    (stale / "train-images-idx3-ubyte").write_bytes(b"half")
    monkeypatch.setattr(
        datasets, "torchvision_fetch", lambda _: lambda folder: write_idx_set(folder)
    )
    load_dataset("mnist", tmp_path)
    assert not stale.exists()


def test_a_failed_download_says_what_to_do(tmp_path, offline):
    with pytest.raises(DataError) as caught:
        load_dataset("mnist", tmp_path)
    message = str(caught.value)
    for part in ("'mnist'", str(tmp_path), "data-dir", 'dataset="digits"', "OSError"):
        assert part in message
    assert "http" not in message


def test_files_that_are_there_need_no_lock(tmp_path, monkeypatch):
    write_idx_set(tmp_path / "MNIST" / "raw")

    def no_lock(*args: object, **kwargs: object) -> None:
        raise PermissionError("read-only folder")

    monkeypatch.setattr(download, "FileLock", no_lock)
    assert len(load_dataset("mnist", tmp_path).train) == 4


def test_a_folder_that_cannot_be_written_is_a_data_error(tmp_path, offline):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot be put there.*Set data-dir"):
        load_dataset("mnist", tmp_path / "file")
    assert not offline


TWO_DOWNLOADS = """
import pathlib, sys, time
from fl_app.data.download import ensure_files

def fetch(folder):
    with (home / "downloads").open("a") as log:
        log.write("one\\n")
    (folder / "a").write_text("half")
    time.sleep(0.7)
    (folder / "a").write_text("whole")
    return folder

home = pathlib.Path(sys.argv[1])
ensure_files("some", home / "raw", ["a"], fetch, lambda folder: None)
assert (home / "raw" / "a").read_text() == "whole"
"""


@pytest.mark.slow
def test_two_processes_download_once(tmp_path):
    command = [sys.executable, "-c", TWO_DOWNLOADS, str(tmp_path)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (tmp_path / "downloads").read_text() == "one\n"


def test_waiting_for_another_download_ends(tmp_path, monkeypatch, offline):
    (tmp_path / "MNIST").mkdir()
    monkeypatch.setattr(download, "_LOCK_SECONDS", 0.05)
    with (
        FileLock(tmp_path / "MNIST" / ".raw.lock"),
        pytest.raises(DataError, match="Another process"),
    ):
        load_dataset("mnist", tmp_path)


def test_a_stalled_connection_is_given_up_and_the_default_restored():
    before = socket.getdefaulttimeout()
    with download._stalled_connections_fail():
        assert socket.getdefaulttimeout() == 30
    assert socket.getdefaulttimeout() == before
