"""Whole runs of own pictures of any size, with ResNet-18: trained, saved, predicted, evaluated."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18

from fl_app.client_app import app as client_app
from fl_app.core.errors import ConfigError
from fl_app.data.local_files.conversion import describe_conversion
from fl_app.data.local_files.loader import load_examples
from fl_app.results.saved_model import load_task_model
from fl_app.tasks.images.pictures.preprocessing import preprocessing_of
from scripts.analysis import evaluate, predict
from scripts.diagnostics import doctor
from scripts.harness.in_process_grid import InProcessGrid
from tests.support.local_run import metrics, run_on

CLASSES = ("red", "blue")


def photograph(label: int, random: np.random.Generator) -> np.ndarray:
    """A grey wall of any size with a red (0) or blue (1) mark somewhere in its middle."""
    height, width = random.integers(70, 110, 2)
    picture = random.integers(100, 140, (height, width, 3), np.uint8)
    y, x = random.integers(30, 40, 2)
    picture[y : y + 25, x : x + 25] = ((220, 20, 20), (20, 20, 220))[label]
    return picture


def write_site(folder: Path, random: np.random.Generator, count: int) -> None:
    for index in range(count):
        label = index % 2
        path = folder / CLASSES[label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(label, random)).save(path)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("sites"), np.random.default_rng(3)
    for name, count in (("north", 12), ("south", 12), ("new", 6)):
        write_site(folder / name, random, count)
    return folder


def own_config(run_config: dict[str, Any]) -> dict[str, Any]:
    return run_config | {
        **{"dataset": "own", "class-names": "red,blue", "model": "resnet18", "image-size": 64},
        **{"num-participants": 2, "num-server-rounds": 1, "local-epochs": 1, "batch-size": 8},
        **{"learning-rate": 0.02, "tensorboard": False},
    }


def run_of(config: dict[str, Any], sites: Path) -> Path:
    nodes = [{"name": name, "data": str(sites / name)} for name in ("north", "south")]
    nodes = [node | {"state-dir": str(sites / f"{node['name']}-state")} for node in nodes]
    return run_on(InProcessGrid(client_app, config, 2, node_configs=nodes), config)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_resnet_of_photographs_of_any_size_sees_the_same_in_training_and_later(
    run_config: dict[str, Any], sites: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(own_config(run_config), sites)

    task, model, metadata = load_task_model(run)
    assert metadata["image-conversion"] == describe_conversion((3, 64, 64))
    assert metadata["image-shape"] == "[3, 64, 64]"
    assert model.state_dict()["fc.bias"].shape == (2,)

    kind = preprocessing_of(run, metadata, model)
    examples = load_examples(sites / "new", kind.agreement, kind.mean, kind.std)
    with torch.no_grad():
        expected = model.eval()(examples.images)
    answers = [CLASSES[int(label)] for label in expected.argmax(1)]
    pictures = [p for name in CLASSES for p in sorted((sites / "new" / name).iterdir())]
    capsys.readouterr()
    assert predict.main([str(run), *map(str, pictures)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    found = [re.findall(r": (\w+) \(([\d.]+)%", line)[0] for line in lines]
    assert [name for name, _ in found] == answers
    shares = expected.exp().amax(1)
    assert [float(share) / 100 for _, share in found] == pytest.approx(shares.tolist(), abs=1e-3)
    assert all("[resized and cropped to 64x64]" in line for line in lines)
    (line,) = task.predict(model.eval(), str(pictures[0]))
    assert line == lines[0]

    assert evaluate.main([str(run), "--data", str(sites / "new"), "--output", str(tmp_path)]) == 0
    right = float((expected.argmax(1) == examples.labels).float().mean())
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation["accuracy"] == pytest.approx(right)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_resnet_begins_with_weights_of_a_file_that_the_saved_model_does_not_need(
    run_config: dict[str, Any], sites: Path, tmp_path: Path
) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "weights.pth")
    changes = {"pretrained-weights": str(tmp_path / "weights.pth")}
    run = run_of(own_config(run_config) | changes, sites)
    (tmp_path / "weights.pth").unlink()

    _, model, _ = load_task_model(run)
    assert model.state_dict()["fc.bias"].shape == (2,)
    with pytest.raises(ConfigError, match=r"weights.pth.*No such file"):
        run_of(own_config(run_config) | changes, sites)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_batch_norm_statistics_of_a_resnet_may_stay_with_the_participants(
    run_config: dict[str, Any], sites: Path
) -> None:
    config = own_config(run_config)
    sent = []
    for local in ("", "*running_mean, *running_var"):
        run = run_of(config | {"local-parameters": local}, sites)
        sent += [row["bytes_up"] for row in metrics(run, "participant") if row["bytes_up"]][:1]
    # 4,800 channels are normalised: two statistics each, of four bytes, beside 40 headers.
    assert 4800 * 2 * 4 <= sent[0] - sent[1] <= 4800 * 2 * 4 + 40 * 128


@pytest.mark.slow
def test_the_doctor_reads_pictures_as_a_run_does(
    sites: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(sites / "new"), "--class-names", "red,blue"]

    doctor.main([*data, "--image-size", "32", "--image-channels", "1"])
    told = capsys.readouterr().out
    assert "1x32x32 each" in told
    assert "converted as agreed: resized and cropped to 32x32, colour to grey, 6 of 6" in told
    doctor.main(data)
    assert "Set image-size = 28 in the run config" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        doctor.main([*data, "--image-size", "32"])
    assert "--image-size needs --image-channels" in capsys.readouterr().err
