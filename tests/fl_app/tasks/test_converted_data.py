"""Named data sets at another size and in other channels: trained, saved, predicted, evaluated."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fl_app.core.errors import ConfigError, UserError
from fl_app.data.datasets import load_dataset
from fl_app.data.local_files.conversion import convert_images
from fl_app.results.saved_model import load_task_model
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.images.pictures.prediction import as_in_training
from fl_app.tasks.images.pictures.preprocessing import (
    Preprocessing,
    preprocessing_metadata,
    preprocessing_of,
)
from fl_app.tasks.registry import build_task, initial_model
from scripts.analysis import evaluate
from tests.support.local_run import metrics, run_app

COLOUR = (3, 20, 20)


def test_a_data_set_is_converted_as_it_is_needed(tmp_path: Path) -> None:
    task = ImageClassification("resnet18", "digits", image_size=20, image_channels=3)
    data, plain = task.load_data(tmp_path), load_dataset("digits", tmp_path)
    order = torch.tensor([5, 2, 9])

    for found, given in ((data.train, plain.train), (data.test, plain.test)):
        assert len(found) == len(given)
        (images, labels), (rest, _) = found.select(order).batches(
            None, [2, 1], task.collate, torch.device("cpu")
        )
        expected = convert_images(given.select(order).images, COLOUR)
        assert torch.equal(torch.cat([images, rest]), expected)
        assert torch.equal(labels, given.labels[order[:2]])
    in_order = list(data.test.batches(order, [2, 1], task.collate, torch.device("cpu")))
    assert torch.equal(torch.cat([images for images, _ in in_order]), expected)
    labels_of = task.partition_labels(data.train)
    assert labels_of is not None
    np.testing.assert_array_equal(labels_of, plain.train.labels.numpy())
    assert preprocessing_of("a file", data.metadata).image_shape == COLOUR
    assert preprocessing_of("a file", data.metadata).convert


def test_mnist_has_labels_to_partition_by(mnist_dir: Path) -> None:
    task = ImageClassification()
    labels = task.partition_labels(task.load_data(mnist_dir).train)

    assert labels is not None
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_model_of_converted_data_is_evaluated_and_predicts_alike(
    run_config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"model": "squeezenet1_1", "image-size": 20, "image-channels": 3}
    run = run_app(run_config | changes | {"num-server-rounds": 1, "tensorboard": False})

    assert evaluate.main([str(run), "--output", str(tmp_path)]) == 0
    central = metrics(run, "round")[-1]["central"]
    again = json.loads((tmp_path / "evaluation.json").read_text())
    assert again["loss"] == pytest.approx(central["loss"], rel=1e-5)

    task, model, metadata = load_task_model(run)
    kind = preprocessing_of(run, metadata, model)
    dataset = load_dataset("digits", tmp_path)
    image = (dataset.test.images[0] * dataset.std + dataset.mean).mul(255).round().byte()[0]
    Image.fromarray(255 - image.numpy()).save(tmp_path / "page.png")
    pixels, notes = as_in_training(tmp_path / "page.png", kind, "auto")
    assert notes == ["inverted, its border is light", "resized from 28x28"]
    assert pixels.shape == COLOUR
    np.testing.assert_allclose(
        pixels, convert_images(image[None], COLOUR).numpy(), atol=1
    )  # Pillow and torchvision round apart
    (line,) = task.predict(model.eval(), str(tmp_path / "page.png"))
    assert line.startswith(f"{tmp_path / 'page.png'}: ")
    assert line.endswith("[inverted, its border is light; resized from 28x28]")


def test_what_is_said_of_the_conversion_is_read_back_or_refused() -> None:
    kind = Preprocessing(0.4, 0.2, ("a", "b"), (3, 64, 64), False, convert=True)
    told = preprocessing_metadata(kind)

    assert preprocessing_of("a file", told) == kind
    assert kind.agreement.convert
    told_nothing = {key: told[key] for key in told if key != "image-conversion"}
    assert not preprocessing_of("a file", told_nothing).convert
    with pytest.raises(UserError, match="converted in a way that is not known here: by magic"):
        preprocessing_of("a file", told | {"image-conversion": "by magic"})


def test_a_model_of_a_fresh_task_predicts_nothing() -> None:
    with pytest.raises(UserError, match="take one that a run has saved"):
        next(ImageClassification().predict(ImageClassification().build_model(), "a.png"))


def test_images_have_one_channel_or_three() -> None:
    with pytest.raises(ConfigError, match=r"image_channels = 2 must be 1 \(grey\), 3 \(colour\)"):
        build_task("image-classification", {"image-channels": 2})


def test_where_the_task_knows_its_classes_a_model_with_fewer_outputs_is_refused() -> None:
    task = ImageClassification("squeezenet1_1(num_classes=2)", "own", "a,b,c", image_size=32)
    model = initial_model(task, seed=1)
    batch = task.sample_batch()
    assert batch is not None

    with pytest.raises(ConfigError, match="has 2 outputs for an image, but the data has 3"):
        task.check_model(model, batch)
    with pytest.raises(ConfigError, match="has 2 outputs for an image, but the data has 3"):
        task.check_outputs(model(batch[0]), batch)
    assert task.num_classes == 3
