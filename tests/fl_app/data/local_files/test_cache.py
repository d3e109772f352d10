"""Decoded pictures that are kept: the same examples, whatever happens to the files."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fl_app.core.errors import DataError
from fl_app.data.local_data import LocalData
from fl_app.data.local_files import cache as cache_module
from fl_app.data.local_files import image_folder, loader, picture
from fl_app.data.local_files.cache import PictureCache
from fl_app.data.local_files.loader import load_own_data
from fl_app.data.local_files.picture import Picture
from fl_app.data.tensor_dataset import ImageExamples
from tests.fl_app.data.local_files.own_data import SIZE, make_spec, pixels, save


@pytest.fixture(autouse=True)
def _everything_is_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "WORTH_KEEPING_SECONDS", 0.0)
    monkeypatch.setattr(cache_module, "_SETTLED_SECONDS", 0.0)


@pytest.fixture
def cache(tmp_path: Path) -> PictureCache:
    return PictureCache(tmp_path / "state" / "data-cache")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The pictures that were decoded, in order."""
    read: Callable[..., Picture] = picture.read_picture
    seen: list[Path] = []

    def counting(path: Path, shape: tuple[int, int, int], convert: bool = False) -> Picture:
        seen.append(path)
        return read(path, shape, convert)

    monkeypatch.setattr(image_folder, "read_picture", counting)
    return seen


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "state" / "data-cache").glob("*.npz"))


def same(one: LocalData[ImageExamples], other: LocalData[ImageExamples]) -> bool:
    pairs = ((one.train, other.train), (one.test, other.test))
    return one.remarks == other.remarks and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in pairs
    )


def test_a_second_process_decodes_nothing_and_has_the_same_examples(
    folder: Path, cache: PictureCache, decoded: list[Path]
) -> None:
    save(folder / "cat" / "grey.png", np.repeat(pixels(1, SIZE, SIZE)[0][..., None], 3, axis=2))
    spec = make_spec(folder)
    plain = load_own_data(spec)
    first = load_own_data(spec, cache)
    decoded.clear()
    second = load_own_data(spec, cache)
    assert decoded == []
    assert len(plain.remarks) == 1
    assert same(plain, first)
    assert same(plain, second)


def test_only_the_user_of_the_node_can_read_what_is_kept(
    folder: Path, cache: PictureCache, tmp_path: Path
) -> None:
    old = os.umask(0)
    try:
        load_own_data(make_spec(folder), cache)
    finally:
        os.umask(old)
    (file,) = kept(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("change", ["added", "removed", "replaced", "moved", "touched"])
def test_any_change_to_the_folder_is_seen(
    folder: Path, cache: PictureCache, decoded: list[Path], change: str
) -> None:
    spec = make_spec(folder)
    load_own_data(spec, cache)
    decoded.clear()
    changed = folder / "cat" / "00.png"
    if change == "added":
        save(folder / "cat" / "new.png", pixels(1, SIZE, SIZE, seed=8)[0])
    elif change == "removed":
        changed.unlink()
    elif change == "moved":
        changed.rename(folder / "dog" / "00.png")
    elif change == "touched":
        changed.touch()
    else:  # of the same size and with the same time of change
        times = changed.stat()
        content = bytearray(changed.read_bytes())
        changed.write_bytes(content)
        os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = load_own_data(spec, cache)
    assert decoded
    assert same(after, load_own_data(spec))


@pytest.mark.parametrize(
    "changes",
    [{"seed": 7}, {"participant": "south"}, {"holdout_fraction": 0.5}, {"class_names": "dog cat"}],
)
def test_other_settings_are_another_entry(
    folder: Path, cache: PictureCache, changes: dict[str, object]
) -> None:
    if "class_names" in changes:
        changes = {"class_names": ("dog", "cat")}
    load_own_data(make_spec(folder), cache)
    spec = make_spec(folder, **changes)
    assert same(load_own_data(spec, cache), load_own_data(spec))


def test_mean_and_std_are_those_of_now(folder: Path, cache: PictureCache) -> None:
    load_own_data(make_spec(folder), cache)
    spec = make_spec(folder, mean=0.5, std=0.25)
    assert same(load_own_data(spec, cache), load_own_data(spec))


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "a bit"])
def test_a_damaged_file_is_read_anew_and_replaced(
    folder: Path, cache: PictureCache, tmp_path: Path, decoded: list[Path], damage: str
) -> None:
    spec = make_spec(folder)
    expected = load_own_data(spec, cache)
    (file,) = kept(tmp_path)
    whole = file.read_bytes()
    at = whole.index(np.ascontiguousarray(pixels(16, SIZE, SIZE)[0]).tobytes()) + 7
    spoiled = {
        "cut": whole[:-40],
        "empty": b"",
        "text": b"nothing of the kind",
        "a bit": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
    }[damage]
    file.write_bytes(spoiled)
    decoded.clear()
    assert same(load_own_data(spec, cache), expected)
    assert len(decoded) == 16
    decoded.clear()
    assert same(load_own_data(spec, cache), expected)
    assert decoded == []


@pytest.mark.parametrize("where", ["method", "version", "name"])
def test_a_damaged_directory_of_the_file_is_no_fault_of_the_pictures(
    folder: Path, cache: PictureCache, tmp_path: Path, where: str
) -> None:
    spec = make_spec(folder)
    expected = load_own_data(spec, cache)
    (file,) = kept(tmp_path)
    spoiled = bytearray(file.read_bytes())
    name = spoiled.rindex(b"remarks.npy")  # in the directory at the end, behind 46 bytes
    at = name + {"method": 10 - 46, "version": 6 - 46, "name": 2}[where]
    spoiled[at] ^= 128
    file.write_bytes(bytes(spoiled))
    assert same(load_own_data(spec, cache), expected)


def test_pictures_that_are_gone_are_gone_from_what_is_kept(
    folder: Path, cache: PictureCache, tmp_path: Path
) -> None:
    spec = make_spec(folder)
    load_own_data(spec, cache)
    for file in folder.rglob("*.png"):
        file.unlink()
    with pytest.raises(DataError, match="holds no pictures"):
        load_own_data(spec, cache)
    assert kept(tmp_path) == []
    folder.joinpath("cat").rmdir()
    folder.joinpath("dog").rmdir()
    folder.rmdir()
    with pytest.raises(DataError, match="does not exist"):
        load_own_data(spec, cache)


def test_a_folder_that_has_vanished_takes_what_was_kept_with_it(
    folder: Path, cache: PictureCache, tmp_path: Path
) -> None:
    load_own_data(make_spec(folder), cache)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(DataError, match="does not exist"):
        load_own_data(make_spec(folder), cache)
    assert kept(tmp_path) == []


def test_test_data_is_kept_too(folder: Path, cache: PictureCache, decoded: list[Path]) -> None:
    other = folder.with_name("other")
    save(other / "dog" / "a.png", pixels(1, SIZE, SIZE, seed=5)[0])
    spec = make_spec(folder, test_data=other)
    first = load_own_data(spec, cache)
    decoded.clear()
    assert same(load_own_data(spec, cache), first)
    assert decoded == []


def test_without_room_or_a_place_nothing_is_kept_and_nothing_is_lost(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    spec = make_spec(folder)
    assert same(load_own_data(spec, PictureCache(tmp_path / "file" / "cache")), load_own_data(spec))


def test_what_has_just_been_changed_or_is_read_fast_is_not_kept(
    folder: Path, cache: PictureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "WORTH_KEEPING_SECONDS", 60.0)
    load_own_data(make_spec(folder), cache)
    assert kept(tmp_path) == []
    monkeypatch.setattr(loader, "WORTH_KEEPING_SECONDS", 0.0)
    monkeypatch.setattr(cache_module, "_SETTLED_SECONDS", 3600.0)
    load_own_data(make_spec(folder), cache)
    assert kept(tmp_path) == []


def test_pictures_kept_in_one_size_are_not_taken_for_another(
    folder: Path, cache: PictureCache, decoded: list[Path]
) -> None:
    for shape, convert in (((1, SIZE, SIZE), False), ((3, 4, 4), True), ((1, 4, 4), True)):
        decoded.clear()
        local = load_own_data(make_spec(folder, image_shape=shape, convert=convert), cache)
        assert local.train.images.shape[1:] == shape
        assert len(decoded) == 16
    decoded.clear()
    load_own_data(make_spec(folder, image_shape=(1, 4, 4), convert=True), cache)
    assert decoded == []
