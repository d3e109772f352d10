"""Own pictures of any size, grey or colour, are brought into the shape that the model takes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from fl_app.core.errors import DataError
from fl_app.data.local_files.conversion import convert_array, convert_images, describe_conversion
from fl_app.data.local_files.loader import load_own_data
from fl_app.data.local_files.picture import read_picture
from tests.fl_app.data.local_files.own_data import everything, make_spec, pixels, refusal, save
from tests.fl_app.data.local_files.test_picture import png_of_16_bits

COLOUR = pixels(1, 3, 40, 60)[0]


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (12, 12), (16, 16), (9, 30)])
def test_a_square_is_torchvisions_resize_of_the_shorter_side_and_centre_crop(
    size: tuple[int, int],
):
    images = torch.from_numpy(pixels(2, 3, *size))
    expected = v2.Compose([v2.Resize(16, antialias=True), v2.CenterCrop(16)])(images)

    assert torch.equal(convert_images(images, (3, 16, 16)), expected)


def test_a_picture_is_covered_and_not_distorted():
    # A disc in a wide picture is as wide as high afterwards.
    y, x = np.mgrid[:100, :300]
    disc = (((y - 50) ** 2 + (x - 150) ** 2 < 30**2) * 255).astype(np.uint8)
    (small,) = convert_images(torch.from_numpy(disc[np.newaxis]), (1, 20, 20)) > 127

    assert int(small.any(0).sum()) == int(small.any(1).sum()) == 12
    assert convert_images(torch.zeros(1, 30, 10), (1, 20, 40)).shape == (1, 20, 40)


def test_what_fits_keeps_its_bits_and_grey_keeps_its_values():
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    grey_as_colour = values.expand(3, 16, 16)

    assert torch.equal(convert_images(values, (1, 16, 16)), values)
    assert torch.equal(convert_images(values, (3, 16, 16)), grey_as_colour)
    assert torch.equal(convert_images(grey_as_colour, (1, 16, 16)), values)


def test_colour_becomes_grey_by_luma():
    red_green_blue = torch.eye(3, dtype=torch.uint8).mul(255).reshape(3, 1, 3)

    assert convert_images(red_green_blue, (1, 1, 3)).flatten().tolist() == [76, 150, 29]


def test_stripes_do_not_alias():
    stripes = np.zeros((1, 1, 280, 280), np.uint8)
    stripes[..., ::2] = 200

    assert np.abs(convert_array(stripes, (1, 28, 28)).astype(int) - 100).max() <= 5


def test_a_picture_says_what_was_done_to_it(tmp_path: Path):
    wide = save(tmp_path / "wide.png", COLOUR.transpose(1, 2, 0))
    grey = save(tmp_path / "grey.png", pixels(1, 16, 16)[0])

    colour = read_picture(wide, (3, 16, 16), convert=True)
    assert colour.conversion == "resized and cropped to 16x16"
    expected = convert_images(torch.from_numpy(COLOUR), (3, 16, 16)).numpy()
    np.testing.assert_array_equal(colour.pixels, expected)
    both = read_picture(wide, (1, 16, 16), convert=True).conversion
    assert both == "resized and cropped to 16x16, colour to grey"
    assert read_picture(grey, (3, 16, 16), convert=True).conversion == "grey to red, green and blue"
    assert read_picture(grey, (1, 16, 16), convert=True).conversion == ""


def test_a_turned_photograph_is_put_upright_first(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(1, 20, 40)[0]).save(tmp_path / "a.jpg", exif=exif)
    upright = np.rot90(np.asarray(Image.open(tmp_path / "a.jpg")), -1)[np.newaxis]

    found = read_picture(tmp_path / "a.jpg", (1, 10, 10), convert=True).pixels
    expected = convert_images(torch.from_numpy(upright.copy()), (1, 10, 10)).numpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [("glass.png", "transparent parts"), ("deep.png", "more than 8 bits"), ("huge.png", "at most")],
)
def test_what_cannot_be_converted_is_refused(tmp_path: Path, name: str, message: str):
    Image.new("RGBA", (9, 9), (1, 2, 3, 100)).save(tmp_path / "glass.png")
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(2, 3))
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")

    with pytest.raises(DataError, match=f"{name} .*{message}"):
        read_picture(tmp_path / name, (3, 8, 8), convert=True)


def test_a_folder_of_pictures_of_all_sizes_is_read_and_counted(tmp_path: Path):
    for index, size in enumerate([(20, 30), (64, 12), (16, 16), (9, 9)]):
        save(tmp_path / "cat" / f"{index}.png", pixels(1, *size, 3, seed=index)[0])
    save(tmp_path / "dog" / "grey.png", pixels(1, 16, 16)[0])
    spec = make_spec(tmp_path, image_shape=(3, 16, 16), convert=True, holdout_fraction=0.0)

    local = load_own_data(spec)

    assert local.train.images.shape == (5, 3, 16, 16)
    assert local.remarks == (
        f"{tmp_path}: converted as agreed: grey to red, green and blue, 1 of 5 pictures",
        f"{tmp_path}: converted as agreed: resized and cropped to 16x16, 3 of 5 pictures",
    )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NHW"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_arrays_are_converted_in_the_same_way(tmp_path: Path, layout: str, dtype: type):
    images = pixels(70, 40, 60) if layout == "NHW" else pixels(70, 3, 40, 60)
    scaled = images if dtype is np.uint8 else (images / 255).astype(dtype)
    stored = scaled.transpose(0, 2, 3, 1) if layout == "NHWC" else scaled
    np.savez(tmp_path / "a.npz", images=stored, labels=np.arange(70) % 2)
    spec = make_spec(tmp_path / "a.npz", image_shape=(3, 16, 16), convert=True, mean=0.0, std=1.0)

    found = everything(spec).images

    channels_first = torch.from_numpy(images[:, np.newaxis] if layout == "NHW" else images)
    expected = convert_images(channels_first, (3, 16, 16)).float() / 255
    torch.testing.assert_close(found, expected, rtol=0, atol=0 if dtype is np.uint8 else 0.004)
    (remark,) = load_own_data(spec).remarks
    assert "60 pixels wide, 40 high" in remark


@pytest.mark.parametrize("shape", [(4, 3, 9, 3), (4, 9, 9, 2), (4, 9), (4, 0, 9)])
def test_an_array_of_which_no_side_can_be_the_channels_is_refused(tmp_path: Path, shape):
    np.savez(tmp_path / "a.npz", images=np.zeros(shape, np.uint8), labels=np.zeros(4, np.int64))

    told = refusal(make_spec(tmp_path / "a.npz", image_shape=(3, 16, 16), convert=True))
    assert f"images of shape {shape}; it must be (N, height, width)" in told


def test_the_error_for_a_wrong_size_suggests_image_size(tmp_path: Path):
    save(tmp_path / "site" / "cat" / "a.png", pixels(1, 9, 9)[0])
    np.savez(tmp_path / "a.npz", images=pixels(4, 9, 9), labels=np.zeros(4, np.int64))

    for data in (tmp_path / "site", tmp_path / "a.npz"):
        assert "Set image-size = 6 in the run config" in refusal(make_spec(data))
    wide = refusal(make_spec(tmp_path / "site", image_shape=(1, 6, 7)))
    assert "image-size" not in wide


def test_the_way_is_described():
    assert describe_conversion((1, 28, 28)) == (
        "16-bit grey divided by 257 and rounded; upright; colour to grey by luma (ITU-R 601); "
        "resized until it covers 28x28 (bilinear, antialiased); centre crop to 28x28"
    )
