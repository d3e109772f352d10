"""Augmentation by name: of training batches only, seeded, and nothing at all by default."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.images.augmentation import crop_flip, flip, trivial
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.registry import initial_model
from fl_app.tasks.task import ModelError
from fl_app.training.local.local_training import evaluate
from tests.support.local_run import digest, run_app

NAMES = {"flip": flip, "crop-flip": crop_flip, "trivial": trivial}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 64, channels: int = 3, size: int = 16) -> Tensor:
    return torch.randn(count, channels, size, size, generator=seeded(9))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_chance_is_the_generators_alone(name: str, channels: int) -> None:
    given = images(channels=channels)
    before, state = given.clone(), torch.get_rng_state()

    first, again = NAMES[name](given, seeded(1)), NAMES[name](given, seeded(1))
    other = NAMES[name](given, seeded(2))

    assert first.shape == given.shape
    assert first.dtype == given.dtype
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, given)
    assert torch.equal(given, before)  # not written to
    assert torch.equal(torch.get_rng_state(), state)


def test_flip_mirrors_half_of_the_images() -> None:
    given = images(1000)
    result = flip(given, seeded())

    mirrored = (result == given.flip(-1)).flatten(1).all(1)
    assert torch.equal(result[~mirrored], given[~mirrored])
    assert 400 < int(mirrored.sum()) < 600


def test_crop_flip_moves_by_an_eighth_at_most() -> None:
    point = torch.zeros(500, 1, 16, 16)
    point[:, :, 8, 8] = 1
    found = crop_flip(point, seeded()).flatten(1).argmax(1)
    rows, columns = found // 16, found % 16

    assert set(rows.tolist()) == {6, 7, 8, 9, 10}
    assert set(columns.tolist()) == {5, 6, 7, 8, 9, 10}  # mirrored, column 8 is column 7


def test_trivial_stays_between_the_darkest_and_the_brightest() -> None:
    given = images(32)
    result = trivial(given, seeded())
    slack = float(given.max() - given.min()) / 255

    assert result.min() >= given.min() - slack
    assert result.max() <= given.max() + slack
    kept = (result - given).abs().flatten(1).amax(1) < slack  # of fourteen, one does nothing
    assert 0 < int(kept.sum()) < 20
    flat = torch.ones(2, 1, 8, 8)
    assert torch.equal(trivial(flat, seeded()), flat)


def test_by_default_the_batches_are_those_given() -> None:
    batches = iter([(images(), torch.zeros(64))])
    generator = seeded()
    state = generator.get_state()

    assert ImageClassification().training_batches(batches, generator) is batches
    assert torch.equal(generator.get_state(), state)


def test_evaluation_is_not_augmented() -> None:
    examples = ImageExamples(images(20, 1, 28), torch.arange(20) % 10)
    plain, flipped = (ImageClassification(augmentation=name) for name in ("none", "flip"))
    model = initial_model(plain, seed=1)

    assert evaluate(plain, model, examples).metrics == evaluate(flipped, model, examples).metrics
    assert evaluate(plain, model, examples).loss == evaluate(flipped, model, examples).loss


@pytest.fixture
def config(run_config: dict[str, Any], no_pictures: None) -> dict[str, Any]:
    return run_config | {"augmentation": "crop-flip", "tensorboard": False, "fraction-evaluate": 0}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crop-flip", "trivial"])
def test_a_run_is_the_same_again_in_any_order_and_when_it_is_resumed(
    config: dict[str, Any], tmp_path: Path, name: str
) -> None:
    config |= {"augmentation": name}
    whole = run_app(config | {"output-dir": str(tmp_path / "whole")})
    other_order = run_app(config | {"output-dir": str(tmp_path / "order")}, order=5)
    part = run_app(config | {"num-server-rounds": 1, "output-dir": str(tmp_path / "part")})
    resumed = run_app(config | {"output-dir": str(tmp_path / "part"), "resume": str(part)})
    without = run_app(config | {"augmentation": "none", "output-dir": str(tmp_path / "none")})

    assert digest(whole) == digest(other_order) == digest(resumed)
    assert digest(whole) != digest(without)


def test_one_of_ones_own_is_named_by_its_path_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "def darker(images, generator, by=0.5):\n    return images - by\n"
        "def halved(images, generator):\n    return images[:, :, ::2]\n"
    )
    model = initial_model(ImageClassification(), seed=1)
    batch = images(4, 1, 28), torch.zeros(4, dtype=torch.int64)

    task = ImageClassification(augmentation=f"{file}:darker(by=1)")
    ((darker, _),) = task.training_batches(iter([batch]), seeded())
    assert torch.equal(darker, batch[0] - 1)
    task.check_model(model, batch)
    with pytest.raises(ModelError, match="must return a tensor of the same shape"):
        ImageClassification(augmentation=f"{file}:halved").check_model(model, batch)


def test_a_name_that_is_none_is_told(run_config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"did you mean flip\?"):
        RunConfig.from_run_config(run_config | {"augmentation": "flop"})
