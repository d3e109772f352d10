"""Pictures in a folder for each class: how they are read, and which are refused."""

import contextlib
import logging
import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.fl_app.data.local_files.own_data import (
    SIZE,
    everything,
    make_spec,
    pixels,
    refusal,
    save,
)


def test_folder_is_read_in_the_order_of_classes_and_names(folder: Path) -> None:
    array = pixels(1, SIZE, SIZE, seed=9)[0]
    save(folder / "cat" / "deeper" / "down.bmp", array)
    save(folder / "T-shirt_top" / "a.png", array)
    examples = everything(make_spec(folder, mean=0.0, std=1.0))
    assert examples.labels.tolist() == [0] * 9 + [1] * 8 + [2]
    drawn = pixels(16, SIZE, SIZE)
    expected = np.concatenate([drawn[::2], array[None], drawn[1::2], array[None]])
    assert torch.equal(examples.images, torch.from_numpy(expected).unsqueeze(1).float() / 255)


def test_colour_pictures_and_palettes_give_red_green_blue(tmp_path: Path) -> None:
    array = pixels(1, SIZE, SIZE, 3)[0]
    save(tmp_path / "cat" / "a.png", array)
    palette = Image.new("P", (SIZE, SIZE), 1)
    palette.putpalette([0, 0, 0, 255, 0, 51])
    palette.save(tmp_path / "cat" / "b.png")
    spec = make_spec(tmp_path, image_shape=(3, SIZE, SIZE), mean=0.0, std=1.0)
    first, second = everything(spec).images
    assert torch.allclose(first, torch.from_numpy(array / np.float32(255)).permute(2, 0, 1))
    assert torch.allclose(second[:, 2, 3], torch.tensor([1.0, 0.0, 0.2]))


def test_grey_palettes_and_black_and_white_are_grey(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    palette = Image.new("P", (SIZE, SIZE), 1)
    palette.putpalette([0, 0, 0, 51, 51, 51])
    palette.save(tmp_path / "cat" / "a.png")
    Image.new("1", (SIZE, SIZE), 1).save(tmp_path / "cat" / "b.png")
    images = everything(make_spec(tmp_path, mean=0.0, std=1.0)).images
    assert torch.allclose(images[:, 0, 0, 0], torch.tensor([0.2, 1.0]))


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    wide = pixels(1, 4, SIZE)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    save(tmp_path / "cat" / "a.png", wide, exif=exif)
    spec = make_spec(tmp_path, image_shape=(1, SIZE, 4), mean=0.0, std=1.0)
    expected = np.rot90(wide, -1).astype(np.float32) / 255
    assert np.allclose(everything(spec).images[0, 0].numpy(), expected)


def test_names_are_equal_however_their_accents_are_stored(tmp_path: Path) -> None:
    save(tmp_path / "cafe\N{COMBINING ACUTE ACCENT}" / "a.png", pixels(1, SIZE, SIZE)[0])
    spec = make_spec(tmp_path, class_names=("tea", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"))
    assert everything(spec).labels.tolist() == [1]


def test_hidden_and_known_junk_is_skipped_and_an_absent_class_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for junk in (".DS_Store", "cat/Thumbs.db", "cat/.hidden.png", "dog/.cache/a.png"):
        (folder / junk).parent.mkdir(exist_ok=True)
        (folder / junk).write_bytes(b"junk")
    with caplog.at_level(logging.INFO, "flwr"):
        assert len(everything(make_spec(folder))) == 16
    assert "skipped 4 hidden files" in caplog.text
    assert "no examples of: T-shirt/top" in caplog.text


def test_a_class_named_like_a_hidden_file_is_a_class(tmp_path: Path) -> None:
    save(tmp_path / ".net" / "a.png", pixels(1, SIZE, SIZE)[0])
    assert everything(make_spec(tmp_path, class_names=("java", ".net"))).labels.tolist() == [1]


# Refusing: every message names the file, what is wrong, and what would be right


def test_unknown_folder_is_named_with_the_agreed_classes(folder: Path) -> None:
    (folder / "Dogs").mkdir()
    told = refusal(make_spec(folder))
    assert "Dogs" in told
    assert "Did you mean 'dog'?" in told
    assert "cat, dog, T-shirt/top" in told


def bomb(path: Path) -> None:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def animate(path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in pixels(2, SIZE, SIZE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def colourful(path: Path) -> None:
    palette = Image.new("P", (SIZE, SIZE), 1)
    palette.putpalette([0, 0, 0, 255, 0, 51])
    palette.save(path)


def transparent(path: Path) -> None:
    array = pixels(1, SIZE, SIZE)[0]
    Image.fromarray(array).save(path, transparency=int(array[2, 3]))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: save(path, pixels(1, 5, 7)[0]), "is 7 pixels wide and 5 high"),
        (lambda path: save(path, pixels(1, SIZE, SIZE, 3)[0]), "3 channels (Pillow's mode RGB)"),
        (lambda path: save(path, np.zeros((SIZE, SIZE), np.uint16)), "more than 8 bits"),
        (lambda path: path.write_text("notes"), "not an intact picture"),
        (lambda path: path.write_bytes(b""), "not an intact picture"),
        (cut, "is damaged"),
        (bomb, "far larger"),
        (animate, "several frames"),
        (colourful, "a palette of colours"),
        (transparent, "transparent"),
    ],
)
def test_a_file_that_is_no_fitting_picture_is_named(folder: Path, spoil: Any, told: str) -> None:
    spoiled = folder / "dog" / "03.png"
    spoil(spoiled)
    message = refusal(make_spec(folder))
    assert str(spoiled) in message
    assert told in message


def test_many_bad_files_are_told_at_once_but_not_all(folder: Path) -> None:
    for path in (folder / "cat").iterdir():
        path.write_text("not a picture")
    told = refusal(make_spec(folder))
    assert told.startswith("8 files below")
    assert told.count("\n  - ") == 6
    assert told.endswith("and 3 more")


def test_folders_without_pictures_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in refusal(make_spec(tmp_path / "empty"))
    (tmp_path / "empty" / "cat").mkdir()
    assert "holds no pictures" in refusal(make_spec(tmp_path / "empty"))
    (folder / "loose.png").write_bytes(b"")
    assert "beside the class folders" in refusal(make_spec(folder))


def test_links_to_folders_are_not_lost_in_silence(folder: Path) -> None:
    (folder / "cat" / "more").symlink_to(folder / "dog", target_is_directory=True)
    assert "is a link to a folder" in refusal(make_spec(folder))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "cat "),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"),
        (" T-shirt_top", "T-shirt_top"),
    ],
)
def test_two_folders_of_one_class_are_refused_and_both_are_named(
    tmp_path: Path, one: str, other: str
) -> None:
    for folder in (one, other):
        save(tmp_path / folder / "a.png", pixels(1, SIZE, SIZE)[0])
    names = ("cat", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "T-shirt/top")
    told = refusal(make_spec(tmp_path, class_names=names))
    assert "both stand for the class" in told
    assert ascii(one) in told
    assert ascii(other) in told


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe", "link to nothing"])
def test_what_is_no_file_is_refused_by_name_and_not_waited_for(folder: Path, kind: str) -> None:
    strange = folder / "cat" / "strange.png"
    if kind == "pipe":
        os.mkfifo(strange)
    elif kind == "link to a pipe":
        os.mkfifo(folder.parent / "pipe")
        strange.symlink_to(folder.parent / "pipe")
    elif kind == "link to nothing":
        strange.symlink_to(folder / "gone")
    else:
        with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(strange.parent):
            bound.bind(strange.name)
    told = refusal(make_spec(folder))
    assert str(strange) in told
    assert ("cannot be read" if kind == "link to nothing" else kind.split()[-1]) in told
