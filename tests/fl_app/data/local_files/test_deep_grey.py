"""Grey pictures of 16 bits, as X-rays are exported: scaled to 8 where pictures are converted."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fl_app.core.errors import DataError
from fl_app.data.local_files.conversion import convert_images, describe_conversion, to_8_bits
from fl_app.data.local_files.loader import load_own_data
from fl_app.data.local_files.picture import Picture, read_picture
from fl_app.tasks.images.pictures.prediction import as_in_training
from fl_app.tasks.images.pictures.preprocessing import Preprocessing
from scripts.diagnostics import doctor
from tests.fl_app.data.local_files.own_data import SIZE, make_spec, pixels, save

SHAPE = (1, SIZE, SIZE)
HOW = "16 bits to 8, divided by 257"


def xray(*size: int, seed: int = 0) -> np.ndarray:
    """Grey values of the whole range."""
    return np.random.default_rng(seed).integers(0, 65536, size, dtype=np.uint16)


def converted(path: Path, shape: tuple[int, int, int] = SHAPE) -> Picture:
    return read_picture(path, shape, convert=True)


def test_every_value_is_the_nearest_of_256() -> None:
    values = np.arange(65536, dtype=np.uint16)
    assert np.abs(to_8_bits(values).astype(float) - values / 257).max() < 0.5
    assert to_8_bits(np.array([0, 128, 129, 65535], np.uint16)).tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_a_picture_is_scaled_and_says_so(tmp_path: Path, name: str) -> None:
    values = xray(SIZE, SIZE)
    picture = converted(save(tmp_path / name, values))
    np.testing.assert_array_equal(picture.pixels, np.rint(values / 257).astype(np.uint8)[None])
    assert picture.conversion == HOW


def test_8_bits_stored_as_16_come_back_and_are_converted_like_8_bits(tmp_path: Path) -> None:
    grey = pixels(1, 20, 30)[0]
    deep = save(tmp_path / "deep.png", grey.astype(np.uint16) * 257)
    plain = save(tmp_path / "plain.png", grey)
    for shape in (SHAPE, (3, SIZE, SIZE)):
        np.testing.assert_array_equal(converted(deep, shape).pixels, converted(plain, shape).pixels)
        expected = convert_images(torch.from_numpy(grey[None]), shape).numpy()
        np.testing.assert_array_equal(converted(plain, shape).pixels, expected)
    colour = converted(deep, (3, SIZE, SIZE)).conversion
    resized = f"resized and cropped to {SIZE}x{SIZE}"
    assert colour == f"{HOW}, {resized}, grey to red, green and blue"
    assert converted(plain).conversion == resized


def test_a_dark_picture_is_told(tmp_path: Path) -> None:
    twelve_bits = np.full((SIZE, SIZE), 4095, np.uint16)
    picture = converted(save(tmp_path / "a.png", twelve_bits))
    assert (picture.pixels == 16).all()
    assert picture.conversion == f"{HOW} (all of it below a quarter of white)"
    twelve_bits[0, 0] = 2**14
    assert converted(save(tmp_path / "b.png", twelve_bits)).conversion == HOW


def test_a_turned_one_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = xray(SIZE, SIZE)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name, exif=exif)
        np.testing.assert_array_equal(
            converted(tmp_path / name).pixels[0], np.rot90(to_8_bits(values), -1)
        )


def test_a_tiff_in_which_white_is_0_is_inverted_as_with_8_bits(tmp_path: Path) -> None:
    values = xray(SIZE, SIZE)
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(converted(tmp_path / "a.tif").pixels[0], 255 - to_8_bits(values))
    Image.fromarray(to_8_bits(values)).save(tmp_path / "b.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "b.tif") as image:
        pillows = np.asarray(image)
    np.testing.assert_array_equal(converted(tmp_path / "b.tif").pixels[0], pillows)


def test_big_endian_is_read_alike(tmp_path: Path) -> None:
    values, content = xray(SIZE, SIZE), io.BytesIO()
    Image.fromarray(values.astype(">u2")).save(content, "TIFF")
    (tmp_path / "a.tif").write_bytes(content.getvalue())
    np.testing.assert_array_equal(converted(tmp_path / "a.tif").pixels[0], to_8_bits(values))


def test_one_transparent_pixel_is_enough_to_refuse(tmp_path: Path) -> None:
    values = np.full((SIZE, SIZE), 40000, np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=39999)
    assert converted(tmp_path / "a.png").conversion == HOW
    values[2, 3] = 39999
    Image.fromarray(values).save(tmp_path / "a.png", transparency=39999)
    with pytest.raises(DataError, match="transparent parts"):
        converted(tmp_path / "a.png")


def test_several_frames_are_refused(tmp_path: Path) -> None:
    first, second = (Image.fromarray(xray(SIZE, SIZE, seed=seed)) for seed in (1, 2))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    with pytest.raises(DataError, match="several frames"):
        converted(tmp_path / "a.tif")


@pytest.mark.parametrize("array", [np.full((9, 9), 70000, np.int32), np.ones((9, 9), np.float32)])
def test_what_has_no_range_of_16_bits_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"a\.tif has more than 8 bits .* before you start"):
        converted(save(tmp_path / "a.tif", array))


def tiff(bits: int, sample_format: int) -> bytes:
    """A TIFF of SIZE x SIZE pixels, one channel, uncompressed, all bytes 0x11."""
    rows = b"\x11" * (SIZE * SIZE * bits // 8)
    tags = {256: SIZE, 257: SIZE, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIZE}
    tags |= {279: len(rows), 339: sample_format}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(rows)) + rows + directory


def test_a_tiff_of_12_bits_or_of_signed_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for bits, sample_format in ((12, 1), (16, 2)):
        path.write_bytes(tiff(bits, sample_format))
        with pytest.raises(DataError, match=r"a\.tif has more than 8 bits"):
            converted(path)
    path.write_bytes(tiff(16, 1))
    assert (converted(path).pixels == 0x11).all()  # 0x1111 / 257


def test_without_conversion_it_is_refused_and_image_size_suggested(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", xray(SIZE, SIZE))
    with pytest.raises(DataError) as refused:
        read_picture(path, SHAPE)
    assert str(refused.value).endswith(
        f"Set image-size = {SIZE} in the run config, and grey of 16 bits is scaled to 8 bits; or "
        "convert the pictures before you start."
    )
    with pytest.raises(DataError, match=r"bits each\. Convert the pictures"):
        read_picture(path, (1, SIZE, SIZE + 1))  # no image-size makes such


def test_a_folder_counts_them_and_trains_on_what_predict_sees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    for index in range(4):
        save(site / "cat" / f"{index}.png", xray(SIZE, SIZE, seed=index))
    save(site / "dog" / "0.png", pixels(1, SIZE, SIZE)[0])
    spec = make_spec(site, convert=True, holdout_fraction=0.0, mean=0.0, std=1.0)

    local = load_own_data(spec)

    (remark,) = local.remarks
    assert remark == f"{site}: converted as agreed: {HOW}, 4 of 5 pictures"
    kind = Preprocessing(0.0, 1.0, ("cat", "dog"), SHAPE, light_on_dark=False, convert=True)
    array, notes = as_in_training(site / "cat" / "0.png", kind, "auto")
    assert torch.equal(torch.from_numpy(array.astype(np.float32)) / 255, local.train.images[0])
    assert notes == [HOW]
    size = ["--image-size", str(SIZE), "--image-channels", "1"]
    doctor.main(["--data", str(site), "--class-names", "cat,dog", *size])
    assert f"{HOW}, 4 of 5 pictures" in capsys.readouterr().out


def test_the_way_is_part_of_what_a_model_says() -> None:
    assert describe_conversion(SHAPE).startswith("16-bit grey divided by 257 and rounded; upright")
