"""Pictures of another kind than the model's: converted where nothing is lost, and counted."""

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fl_app.core.errors import DataError
from fl_app.data.local_files.loader import load_own_data
from fl_app.data.local_files.picture import read_picture
from tests.fl_app.data.local_files.own_data import SIZE, make_spec, pixels

GREY = pixels(1, SIZE, SIZE, seed=3)[0]
COLOUR = pixels(1, SIZE, SIZE, 3, seed=4)[0]
OPAQUE = np.full((SIZE, SIZE, 1), 255, np.uint8)
SHAPES = {channels: (channels, SIZE, SIZE) for channels in (1, 3, 4)}


def written(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    picture = read_picture(written(tmp_path / "a.png", GREY), SHAPES[3])
    np.testing.assert_array_equal(picture.pixels, np.stack([GREY] * 3))
    assert picture.conversion == "grey to red, green and blue"


def test_a_grey_jpeg_among_colour_ones_is_what_pillow_makes_of_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jpg", GREY)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_picture(path, SHAPES[3]).pixels, expected)


def test_colour_that_is_grey_everywhere_becomes_grey(tmp_path: Path) -> None:
    picture = read_picture(written(tmp_path / "a.png", GREY, "RGB"), SHAPES[1])
    np.testing.assert_array_equal(picture.pixels, GREY[np.newaxis])
    assert picture.conversion == "red, green and blue to grey"


@pytest.mark.parametrize("value", [1, 254])
def test_one_pixel_of_colour_is_enough_to_refuse(tmp_path: Path, value: int) -> None:
    array = np.repeat(GREY[..., np.newaxis], 3, axis=2)
    array[4, 2, 1] ^= value
    with pytest.raises(DataError, match="3 channels"):
        read_picture(written(tmp_path / "a.png", array), SHAPES[1])


def test_an_alpha_channel_that_is_opaque_is_dropped(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", np.concatenate([COLOUR, OPAQUE], axis=2))
    picture = read_picture(path, SHAPES[3])
    np.testing.assert_array_equal(picture.pixels, COLOUR.transpose(2, 0, 1))
    assert picture.conversion == "with alpha to red, green and blue"
    grey = written(tmp_path / "b.png", np.stack([GREY, OPAQUE[..., 0]], axis=2))
    np.testing.assert_array_equal(read_picture(grey, SHAPES[1]).pixels, GREY[np.newaxis])


@pytest.mark.parametrize(("array", "channels"), [(COLOUR, 3), (GREY[..., np.newaxis], 1)])
def test_one_pixel_that_shows_through_is_enough_to_refuse(
    tmp_path: Path, array: np.ndarray, channels: int
) -> None:
    alpha = OPAQUE.copy()
    alpha[1, 1] = 254
    path = written(tmp_path / "a.png", np.concatenate([array, alpha], axis=2))
    with pytest.raises(DataError, match=r"a\.png has transparent parts"):
        read_picture(path, SHAPES[channels])


def test_without_alpha_a_picture_is_opaque(tmp_path: Path) -> None:
    picture = read_picture(written(tmp_path / "a.png", COLOUR), SHAPES[4])
    expected = np.concatenate([COLOUR, OPAQUE], axis=2).transpose(2, 0, 1)
    np.testing.assert_array_equal(picture.pixels, expected)


def test_what_is_of_the_models_kind_is_no_conversion(tmp_path: Path) -> None:
    for channels, array in ((1, GREY), (3, COLOUR)):
        assert not read_picture(written(tmp_path / "a.png", array), SHAPES[channels]).conversion
    black = Image.new("1", (SIZE, SIZE), 1)
    black.save(tmp_path / "a.png")
    assert not read_picture(tmp_path / "a.png", SHAPES[1]).conversion


def test_conversions_are_counted_in_the_log_and_for_the_doctor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cat").mkdir()
    for index in range(5):
        written(tmp_path / "cat" / f"{index}.png", COLOUR if index < 3 else GREY)
    with caplog.at_level(logging.INFO, "flwr"):
        local = load_own_data(make_spec(tmp_path, image_shape=SHAPES[3]))
    (remark,) = local.remarks
    assert remark.endswith("converted without loss: grey to red, green and blue, 2 of 5 pictures")
    assert remark in caplog.text


def png_of_16_bits(colour_type: int, channels: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", SIZE, SIZE, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + b"\xff\xfe" * (SIZE * channels) for _ in range(SIZE))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png_of_16_bits(0, 1), id="png grey"),
        pytest.param(png_of_16_bits(2, 3), id="png colour"),
        pytest.param(png_of_16_bits(4, 2), id="png grey with alpha"),
        pytest.param(png_of_16_bits(6, 4), id="png colour with alpha"),
        pytest.param(b"P6 %d %d 1023\n" % (SIZE, SIZE) + bytes(6 * SIZE**2), id="ppm"),
        pytest.param(b"P5 %d %d 1023\n" % (SIZE, SIZE) + bytes(2 * SIZE**2), id="pgm"),
    ],
)
def test_more_than_8_bits_a_channel_are_never_dropped(
    tmp_path: Path, content: bytes, channels: int
) -> None:
    path = tmp_path / "deep"
    path.write_bytes(content)
    with pytest.raises(DataError, match="more than 8 bits per channel"):
        read_picture(path, SHAPES[channels])


def test_a_ppm_of_fewer_shades_and_a_bmp_of_16_bits_for_three_channels_are_taken(
    tmp_path: Path,
) -> None:
    ppm, bmp = tmp_path / "a.ppm", tmp_path / "a.bmp"
    ppm.write_bytes(b"P6 %d %d 100\n" % (SIZE, SIZE) + bytes([100]) * 3 * SIZE**2)
    header = struct.pack("<IiiHHIIiiII", 40, SIZE, SIZE, 1, 16, 0, 0, 0, 0, 0, 0)
    rows = b"\xff\x7f" * SIZE**2
    bmp.write_bytes(b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + header + rows)
    for path in (ppm, bmp):
        assert (read_picture(path, SHAPES[3]).pixels == 255).all()
