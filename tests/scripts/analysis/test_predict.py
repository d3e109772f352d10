import re

import numpy as np
import pytest
import torch
from PIL import Image

from fl_app.data.datasets import load_dataset
from fl_app.results.saved_model import load_model
from fl_app.tasks.images.pictures.files import read_image
from fl_app.tasks.images.pictures.prediction import prepare
from fl_app.tasks.images.pictures.preprocessing import preprocessing_of
from scripts.analysis.predict import main
from tests.fl_app.results.test_reader import METADATA, write_model
from tests.support.local_run import run_app


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.safetensors", scale=2.5)  # surer than a fresh one


@pytest.fixture
def digits(tmp_path):
    """Test images as grey values, uint8 [N, 28, 28]."""
    dataset = load_dataset("digits", tmp_path)
    images = dataset.test.images[:, 0]
    return ((images * dataset.std + dataset.mean) * 255).round().numpy().astype(np.uint8)


def answers_of(line: str) -> list[tuple[str, str]]:
    return re.findall(r"(\w+) \(([\d.]+)%\)", line.partition(": ")[2].partition("[")[0])


@pytest.mark.usefixtures("no_pictures")
def test_normalisation_is_that_of_the_data_the_model_was_trained_on(run_config, tmp_path):
    directory = run_app(run_config | {"num-server-rounds": 1})
    _, metadata = load_model(directory)
    kind = preprocessing_of(directory, metadata)
    dataset = load_dataset("digits", tmp_path)
    assert (kind.mean, kind.std) == (dataset.mean, dataset.std)
    assert kind.class_names == dataset.class_names
    assert (kind.image_shape, kind.light_on_dark) == ((1, 28, 28), True)


@pytest.mark.parametrize("light", [False, True])
def test_a_picture_is_classified_like_the_data(tmp_path, model, digits, capsys, light):
    pixels = [digits[i] for i in range(5)]
    paths = [str(tmp_path / f"{i}.png") for i in range(5)]
    for path, values in zip(paths, pixels, strict=True):
        Image.fromarray(255 - values if light else values).save(path)
    assert main([str(tmp_path), *paths]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    with torch.no_grad():
        images = load_dataset("digits", tmp_path).test.images[:5]
        expected = load_model(model)[0](images).exp().topk(3)
    assert len({int(label) for label in expected.indices[:, 0]}) > 1
    for line, shares, labels in zip(lines, expected.values, expected.indices, strict=True):
        answers = answers_of(line)
        assert [int(name) for name, _ in answers] == labels.tolist()
        shown = [float(share) / 100 for _, share in answers]
        assert shown == pytest.approx(shares.tolist(), abs=0.01)  # 8-bit rounding, amplified
        assert ("[inverted, its border is light]" in line) == light


def test_resizing_does_not_alias():
    stripes = np.zeros((280, 280), np.uint8)
    stripes[:, ::2] = 200  # columns one pixel wide: their mean is all that 28x28 can show
    pixels, notes = prepare(Image.fromarray(stripes), "no")
    assert pixels.shape == (28, 28)
    assert np.abs(pixels.astype(int) - 100).max() <= 5
    assert notes == ["resized from 280x280"]


def test_a_picture_that_is_not_square_is_padded_with_its_border():
    page = np.full((28, 56), 240, np.uint8)
    page[:, 14:42] = 40
    page[[0, -1]] = 240
    pixels, notes = prepare(Image.fromarray(page), "auto")
    assert (pixels[:6] == 15).all()
    assert (pixels[-6:] == 15).all()
    assert pixels[14, 14] == 215
    assert notes == ["inverted, its border is light", "resized from 56x28"]


@pytest.mark.parametrize(("choice", "value"), [("yes", 245), ("no", 10), ("auto", 10)])
def test_invert_can_be_chosen(choice, value):
    pixels, _ = prepare(Image.new("L", (28, 28), 10), choice)
    assert (pixels == value).all()


@pytest.mark.parametrize("ink", [0, 255])
def test_what_is_drawn_on_nothing_stands_out(tmp_path, ink):
    drawn = np.zeros((28, 28, 4), np.uint8)
    drawn[10:18, 10:18] = [ink, ink, ink, 255]
    Image.fromarray(drawn).save(tmp_path / "a.png")
    pixels, _ = prepare(read_image(tmp_path / "a.png"), "auto")
    assert pixels[0, 0] == 0
    assert pixels[14, 14] == 255


def test_other_pictures_are_made_grey(tmp_path):
    Image.fromarray(np.full((28, 28), 128 * 256, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (28, 28), (100, 100, 100)).save(tmp_path / "colour.jpg")
    Image.new("P", (28, 28), 0).save(tmp_path / "palette.png")
    grey = [np.asarray(read_image(tmp_path / n)) for n in ("deep.png", "colour.jpg", "palette.png")]
    assert [int(values[5, 5]) for values in grey] == [128, 100, 0]


def test_a_turned_photograph_is_put_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (20, 40)


def test_every_bad_picture_is_named_and_the_good_ones_are_classified(
    tmp_path, model, digits, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(digits[0]).save("good.png")
    frames = [Image.new("L", (28, 28), shade) for shade in (0, 99)]
    frames[0].save("animated.png", save_all=True, append_images=frames[1:])
    Image.new("1", (8000, 8000)).save("huge.png")
    Image.new("1", (16000, 16000)).save("bomb.png")
    Image.new("L", (28, 28)).save("other.gif")
    (tmp_path / "text.png").write_text("no picture")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    bad = {
        "animated.png": "is animated",
        "huge.png": "is too large: 8000x8000",
        "bomb.png": "is too large",
        "other.gif": "no PNG or JPEG",
        "text.png": "no PNG or JPEG",
        "cut.png": "is damaged",
        "absent.png": "does not exist",
        ".": "is not a file",
    }
    assert main([str(model), *bad, "good.png"]) == 1
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    for line, (name, message) in zip(errors, bad.items(), strict=True):
        assert line.startswith(f"error: {name} ")
        assert message in line
    assert captured.out.splitlines()[1].startswith("good.png: ")


@pytest.mark.parametrize("changes", [{"mean": None}, {"classes": "7"}, {"std": "wide"}])
def test_a_model_that_does_not_say_how_its_images_were_standardised_is_refused(
    tmp_path, capsys, changes
):
    metadata = {k: v for k, v in (METADATA | changes).items() if v is not None}
    file = write_model(tmp_path / "m.safetensors", metadata=metadata)
    assert main([str(file), "any.png"]) == 1
    assert "does not say what its classes are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dataset", "told", "inverted"),
    [
        ("digits", None, True),
        ("digits", "false", False),
        ("own", None, False),
        ("/home/me/data.py:load", None, False),
        ("/home/me/data.py:load", "true", True),
    ],
)
def test_only_where_all_pictures_were_light_on_dark_is_a_light_one_inverted(
    tmp_path, capsys, dataset, told, inverted
):
    metadata = METADATA | {"dataset": dataset} | ({} if told is None else {"light-on-dark": told})
    file = write_model(tmp_path / "m.safetensors", metadata=metadata)
    Image.new("L", (28, 28), 250).save(tmp_path / "light.png")
    assert main([str(file), str(tmp_path / "light.png")]) == 0
    assert ("[inverted, its border is light]" in capsys.readouterr().out) == inverted


@pytest.mark.parametrize("shape", ["28", "[1, 28]", "[1, 28, null]"])
def test_a_shape_that_is_none_is_told(tmp_path, capsys, shape):
    file = write_model(tmp_path / "m.safetensors", metadata=METADATA | {"image-shape": shape})
    assert main([str(file), "any.png"]) == 1
    assert "does not say what its classes are" in capsys.readouterr().err
