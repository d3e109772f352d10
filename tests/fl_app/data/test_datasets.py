import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from fl_app.core.errors import ConfigError, DataError
from fl_app.data import datasets
from fl_app.data.datasets import FASHION_MNIST, MNIST, load_dataset, resolve_dataset
from fl_app.data.tensor_dataset import GreyExamples, ImageExamples, normalise
from strategies.part_kinds import KINDS
from tests.support.idx_files import write_idx_set


@pytest.fixture(autouse=True)
def _fresh_cache():
    load_dataset.cache_clear()


@pytest.fixture
def offline(monkeypatch):
    """Downloads fail at once; gives the folders in which they were tried."""
    tried: list[Path] = []

    def fetch(folder: Path) -> Path:
        tried.append(folder)
        (folder / "half-a-file").write_bytes(b"...")
        raise OSError("no network")

    monkeypatch.setattr(datasets, "torchvision_fetch", lambda class_name: fetch)
    return tried


# Tensors


@pytest.mark.slow
@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST])
def test_normalise_equals_torchvision_to_the_bit(source):
    from PIL import Image
    from torchvision.transforms import Compose, Normalize, ToTensor

    images = np.random.default_rng(1).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    images[0].flat[:256] = np.arange(256)  # every grey value
    transform = Compose([ToTensor(), Normalize((source.mean,), (source.std,))])
    expected = torch.stack([transform(Image.fromarray(image)) for image in images])
    assert torch.equal(normalise(images, source.mean, source.std), expected)


def test_select_keeps_images_with_their_labels_and_order():
    examples = ImageExamples(torch.arange(4.0).reshape(4, 1, 1, 1), torch.arange(4))
    for indices in (np.array([3, 1]), torch.tensor([3, 1])):
        chosen = examples.select(indices)
        assert len(chosen) == 2
        assert chosen.labels.tolist() == [3, 1]
        assert chosen.images.flatten().tolist() == [3.0, 1.0]


def test_a_part_of_grey_examples_is_that_part_of_all_to_the_bit_and_normalises_no_others():
    pixels = np.random.default_rng(2).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    examples = GreyExamples(pixels, torch.arange(5), 0.1307, 0.3081)
    chosen = examples.select(np.array([4, 0, 4]))

    assert "images" not in vars(examples)
    assert chosen.labels.tolist() == [4, 0, 4]
    assert torch.equal(chosen.images, normalise(pixels, 0.1307, 0.3081)[[4, 0, 4]])
    assert torch.equal(chosen.images, examples.images[[4, 0, 4]])
    assert len(examples) == 5
    with pytest.raises(IndexError):
        examples.select(torch.tensor([5]))


def test_idx_set_is_loaded_with_shapes_and_types(tmp_path, offline):
    write_idx_set(tmp_path / "FashionMNIST" / "raw")
    dataset = load_dataset("fashion-mnist", tmp_path)
    assert dataset.name == "fashion-mnist"
    assert dataset.class_names[9] == "Ankle boot"
    assert dataset.train.images.shape == (4, 1, 28, 28)
    assert dataset.train.images.dtype == torch.float32
    assert dataset.test.labels.dtype == torch.int64
    assert len(dataset.test) == 2
    assert not offline


def test_a_second_load_is_the_same_object(tmp_path, offline):
    write_idx_set(tmp_path / "MNIST" / "raw")
    assert load_dataset("mnist", tmp_path) is load_dataset("mnist", tmp_path)


def test_images_and_labels_must_be_equally_many(tmp_path, offline):
    raw = write_idx_set(tmp_path / "MNIST" / "raw")
    (raw / "t10k-labels-idx1-ubyte").write_bytes((raw / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DataError, match=r"t10k-images.* holds 2 images.* 4 labels"):
        load_dataset("mnist", tmp_path)


@pytest.mark.mnist
def test_mnist_is_the_published_set(mnist_dir):
    dataset = load_dataset("mnist", mnist_dir)
    assert dataset.train.images.shape == (60000, 1, 28, 28)
    assert torch.bincount(dataset.test.labels).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]
    assert dataset.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert abs(float(dataset.train.images.mean())) < 1e-3
    assert abs(float(dataset.train.images.std()) - 1) < 1e-3


def test_digits_are_like_mnist_and_always_the_same(tmp_path):
    dataset = load_dataset("digits", tmp_path)
    assert dataset.train.images.shape == (1437, 1, 28, 28)
    assert dataset.test.images.shape == (360, 1, 28, 28)
    assert torch.bincount(dataset.test.labels, minlength=10).min() >= 20
    assert abs(float(dataset.train.images.mean())) < 1e-3
    assert abs(float(dataset.train.images.std()) - 1) < 1e-3
    load_dataset.cache_clear()
    torch.manual_seed(7)
    again = load_dataset("digits", tmp_path)
    assert torch.equal(again.train.images, dataset.train.images)
    assert torch.equal(again.test.labels, dataset.test.labels)
    assert list(tmp_path.iterdir()) == []


# Names and folders


def test_auto_is_mnist_where_it_is_there(tmp_path, offline):
    write_idx_set(tmp_path / "MNIST" / "raw")
    assert resolve_dataset("auto", tmp_path) == "mnist"


def test_auto_falls_back_to_digits_with_a_notice(tmp_path, offline, caplog):
    logger = logging.getLogger("flwr")
    logger.addHandler(caplog.handler)  # Flower's logger does not propagate
    try:
        assert resolve_dataset("auto", tmp_path) == "digits"
    finally:
        logger.removeHandler(caplog.handler)
    (record, *_) = caplog.records
    assert record.levelno == logging.WARNING
    notice = record.getMessage()
    assert "DOES NOT USE MNIST" in notice
    assert "its download failed" in notice.replace("\n| ", " ")
    assert str(tmp_path / "MNIST" / "raw") in notice
    assert len(notice.splitlines()) > 5


@pytest.mark.parametrize("name", sorted(KINDS["dataset"].names))
def test_a_known_name_is_kept_without_touching_files(name, tmp_path, offline):
    assert resolve_dataset(name, tmp_path) == name
    assert not offline


def test_an_unknown_name_lists_the_allowed_ones(tmp_path):
    for lookup in (resolve_dataset, load_dataset):
        with pytest.raises(ConfigError, match=r'"cifar".*auto, own, mnist, fashion-mnist, digits'):
            lookup("cifar", tmp_path)


def test_a_set_of_ones_own_is_loaded_with_its_options(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from fl_app.data.datasets import load_digits\n"
        "def some(data_dir, *, count=5):\n"
        "    digits = load_digits(data_dir)\n"
        "    return replace(digits, test=digits.test.select(range(count)))\n"
        "def nothing(data_dir):\n"
        "    return data_dir\n"
    )

    text = resolve_dataset(f"{path}:some(count=7)", tmp_path)

    assert text == f"{path}:some(count=7)"
    assert len(load_dataset(text, tmp_path).test) == 7
    with pytest.raises(ConfigError, match=r"it must give a Dataset of fl_app.data.datasets"):
        load_dataset(f"{path}:nothing", tmp_path)


@pytest.mark.parametrize("word", ["auto", "own"])
def test_what_stands_for_no_one_set_cannot_be_loaded(word, tmp_path):
    with pytest.raises(ConfigError, match=f'dataset = "{word}" has a meaning of its own'):
        load_dataset(word, tmp_path)


@pytest.fixture
def stripes(monkeypatch):
    """Registers a data set as `stripes`; gives how to say under what name it comes."""

    def register_as(name: str) -> None:
        def load(data_dir: Path, size: int = 4) -> datasets.Dataset:
            part = ImageExamples(torch.zeros(size, 1, 2, 2), torch.zeros(size, dtype=torch.int64))
            return datasets.Dataset(name, part, part, ("only",), 0.0, 1.0)

        monkeypatch.setitem(KINDS["dataset"].names, "stripes", load)

    return register_as


def test_a_data_set_under_another_name_than_it_is_registered_is_refused(stripes, tmp_path):
    stripes("digits")  # what participants would load in its place
    with pytest.raises(ConfigError, match=r"whose name is 'digits'; give it .* 'stripes'"):
        load_dataset("stripes", tmp_path)
    with pytest.raises(ConfigError, match="whose name is 'digits'"):
        load_dataset("stripes(size=3)", tmp_path)


@pytest.mark.parametrize("text", ["stripes", "stripes(size=3)"])
def test_a_data_set_has_one_name_the_one_that_the_run_config_has(stripes, tmp_path, text):
    stripes("stripes")
    assert load_dataset(text, tmp_path).name == text


def test_a_data_set_of_ones_own_is_named_by_its_path(tmp_path):
    path = tmp_path / "data.py"
    path.write_text("from fl_app.data.datasets import load_digits as load\n")
    assert load_dataset(f"{path}:load", tmp_path).name == f"{path}:load"


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (torch.tensor([0, 1, 2, 3]), "go from 0 to 3, but it has 3 class_names"),
        (torch.tensor([-1, 0, 1, 2]), "go from -1 to 2"),
        (torch.tensor([0.0, 1.0, 2.0, 0.0]), "torch.float32 of shape"),
        (torch.zeros(4, 3, dtype=torch.int64), "int64 of shape"),
    ],
)
@pytest.mark.parametrize("part", ["train", "test"])
def test_labels_that_are_no_positions_in_the_class_names_are_told(
    monkeypatch, tmp_path, labels, told, part
):
    good = ImageExamples(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 0]))
    bad = ImageExamples(good.images, labels)
    train, test = (bad, good) if part == "train" else (good, bad)
    made = datasets.Dataset("mine", train, test, ("a", "b", "c"), mean=0.0, std=1.0)
    monkeypatch.setitem(KINDS["dataset"].names, "mine", lambda data_dir: made)
    with pytest.raises(ConfigError, match=f"the labels of {part} .*{told}"):
        load_dataset("mine", tmp_path)
