"""A model of participants' own pictures: prediction and evaluation do what training did."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from PIL import Image
from torch import Tensor, nn

from fl_app.client_app import app as client_app
from fl_app.data.local_files.loader import load_examples
from fl_app.data.local_files.schema import Agreement
from fl_app.results.saved_model import load_model
from fl_app.tasks.images.pictures.prediction import as_in_training
from fl_app.tasks.images.pictures.preprocessing import Preprocessing, preprocessing_of
from fl_app.tasks.registry import MODELS
from scripts.analysis import evaluate, predict
from scripts.harness.in_process_grid import InProcessGrid
from tests.support.local_run import run_on

SIZE = 12


class Colour(nn.Module):
    """Softmax regression on colour pictures."""

    image_shape = (3, SIZE, SIZE)
    num_classes = 4

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * SIZE * SIZE, self.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.fc(images.flatten(1)), dim=1)


def scan(side: int, random: np.random.Generator) -> np.ndarray:
    """A light page with a dark mark on its left (0) or right (1)."""
    page = random.integers(215, 256, (SIZE, SIZE, 3), np.uint8)
    page[2:10, 1 + 6 * side : 5 + 6 * side] = random.integers(0, 60, 3, np.uint8)
    return page


@pytest.fixture
def sites(tmp_path: Path) -> list[dict[str, Any]]:
    random = np.random.default_rng(3)
    nodes = []
    for name in ("north", "south", "new"):  # "new" takes no part
        for index in range(40):
            folder = tmp_path / name / ("left", "right")[index % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scan(index % 2, random)).save(folder / f"{index}.png")
        nodes.append({"name": name, "data": str(tmp_path / name)})
    return nodes


@pytest.fixture
def run(
    sites: list[dict[str, Any]],
    run_config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    no_pictures: None,
) -> Path:
    """The directory of a run of two sites."""
    monkeypatch.setitem(MODELS, "colour", Colour)
    config = run_config | {
        **{"dataset": "own", "class-names": "left,right", "model": "colour", "tensorboard": False},
        **{"num-participants": 2, "num-server-rounds": 3, "local-epochs": 3},
        **{"image-mean": 0.8, "image-std": 0.3},
    }
    return run_on(InProcessGrid(client_app, config, 2, node_configs=sites[:2]), config)


def test_dark_marks_on_light_paper_are_told_apart_by_default(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = sorted((tmp_path / "new").rglob("*.png"))
    assert predict.main([str(run), *map(str, pictures)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [re.findall(r": (\w+) \(", line)[0] for line in lines] == [
        p.parent.name for p in pictures
    ]
    assert not any("[" in line for line in lines)  # nothing was done to them


@pytest.mark.parametrize("name", ["model.safetensors", "best.safetensors"])
def test_a_picture_becomes_what_it_was_in_training_to_the_bit(
    run: Path, tmp_path: Path, name: str
) -> None:
    model, metadata = load_model(run / name)
    kind = preprocessing_of(run / name, metadata, model)
    assert kind == Preprocessing(0.8, 0.3, ("left", "right"), (3, SIZE, SIZE), False)
    agreement = Agreement(kind.class_names, kind.image_shape)
    trained_on = load_examples(tmp_path / "north", agreement, kind.mean, kind.std).images
    pictures = [tmp_path / "north" / part / f"{i}.png" for part, i in (("left", 0), ("right", 1))]
    for picture, expected in zip(pictures, trained_on[[0, 20]], strict=True):
        pixels, notes = as_in_training(picture, kind, "auto")
        values = torch.from_numpy(pixels.astype(np.float32)).div(255).sub(kind.mean).div(kind.std)
        assert torch.equal(values, expected)
        assert notes == []


def test_what_training_would_refuse_is_adapted_and_told_or_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(tmp_path / "new" / "left" / "0.png") as image:
        image.resize((2 * SIZE, 2 * SIZE)).save(tmp_path / "large.bmp")
        image.convert("L").save(tmp_path / "grey.jpg")
        image.putalpha(100)
        image.save(tmp_path / "glass.png")
    names = [str(tmp_path / name) for name in ("large.bmp", "grey.jpg", "glass.png")]
    assert predict.main([str(run), *names]) == 1
    told = capsys.readouterr()
    large, grey = told.out.splitlines()[1:]
    assert re.search(r"left \(.*\[resized from 24x24\]", large)
    assert re.search(r": left \(", grey)
    assert "glass.png has transparent parts" in told.err


def test_invert_is_done_where_it_is_asked_for(run: Path, tmp_path: Path) -> None:
    model, metadata = load_model(run)
    kind = preprocessing_of(run, metadata, model)
    picture = tmp_path / "new" / "left" / "0.png"
    plain, _ = as_in_training(picture, kind, "auto")
    inverted, notes = as_in_training(picture, kind, "yes")
    np.testing.assert_array_equal(inverted, 255 - plain)
    assert notes == ["inverted"]


def test_a_colour_picture_for_a_model_of_grey_says_that_its_colour_is_left_out(
    tmp_path: Path,
) -> None:
    kind = Preprocessing(0.5, 0.5, ("a", "b"), (1, SIZE, SIZE), light_on_dark=False)
    array = scan(0, np.random.default_rng(1))
    Image.fromarray(array).save(tmp_path / "a.png")
    pixels, notes = as_in_training(tmp_path / "a.png", kind, "auto")
    np.testing.assert_array_equal(pixels[0], np.asarray(Image.fromarray(array).convert("L")))
    assert notes == ["its colour is left out"]


def test_own_data_is_evaluated_on_a_folder(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert evaluate.main([str(run), "--data", str(tmp_path / "new"), "--output", str(output)]) == 0
    content = json.loads((output / "evaluation.json").read_text())
    assert content["accuracy"] == 1.0
    assert content["confusion"] == [[20, 0], [0, 20]]
    assert "(trained on own)" in capsys.readouterr().out


def test_without_data_it_is_told_what_to_give(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["--dataset", "own"]):
        assert evaluate.main([str(run), *arguments]) == 1
        told = capsys.readouterr().err
        assert "Name data of the same kind with --data" in told
        assert "(left, right)" in told
    (tmp_path / "new" / "up").mkdir()
    assert evaluate.main([str(run), "--data", str(tmp_path / "new")]) == 1
    assert "is not an agreed class" in capsys.readouterr().err


def test_outputs_without_a_name_are_counted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def third(self: Colour, images: Tensor) -> Tensor:
        return F.log_softmax(torch.eye(4)[2].expand(len(images), 4) * 9, dim=1)

    monkeypatch.setattr(Colour, "forward", third)
    assert evaluate.main([str(run), "--data", str(tmp_path / "new")]) == 0
    told = capsys.readouterr().out
    assert "accuracy  0.00%" in told
    assert "40 examples were taken for an output that has no class name" in told
