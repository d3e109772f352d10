"""Datasets as tensors, and where their files live.

A dataset is a function `Path -> Dataset` of the folder for all datasets. One of your own is named
in the run config like any part, `dataset = "/home/me/data.py:load(limit=1000)"`; those with names
are declared in `fl_app.core.plugins`.
"""

import logging
import textwrap
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from fl_app.core.errors import ConfigError, DataError
from fl_app.core.plugins import AUTO_DATA, part, told_as_config_error
from fl_app.data.download import ensure_files, torchvision_fetch
from fl_app.data.idx import read_images, read_labels
from fl_app.data.tensor_dataset import GreyExamples, ImageExamples
from strategies.registry import check_name, known_name

_FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_DIGIT_CLASSES = tuple(str(digit) for digit in range(10))
_IDX_FILES = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
_DIGITS_TRAIN_EXAMPLES = 1437


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named dataset with its fixed train/test split.

    Attributes:
        name: That under which it is registered; `load_dataset` replaces it by what the run config
            says, which for one of your own is a path.
        train: The training examples.
        test: The test examples.
        class_names: One per label.
        mean: Subtracted from pixels in [0, 1].
        std: Divided by after that.
        light_on_dark: Whether all its pictures are light on a dark background, so that
            `scripts/predict` may turn one round that is dark on light.
    """

    name: str
    train: ImageExamples | GreyExamples
    test: ImageExamples
    class_names: tuple[str, ...]
    mean: float
    std: float
    light_on_dark: bool = False


@dataclass(frozen=True)
class IdxSource:
    """An MNIST-like dataset: four IDX files in torchvision's layout.

    `folder` is torchvision's class name and the folder below the data folder; `mean` and `std`
    are those of the training pixels on the scale 0 to 1; `class_names` has one per label.
    """

    name: str
    folder: str
    mean: float
    std: float
    class_names: tuple[str, ...]

    def ensure(self, data_dir: Path) -> Path:
        """Download the files if absent and return their folder; `DataError` if impossible."""
        raw = data_dir / self.folder / "raw"
        ensure_files(self.name, raw, _IDX_FILES, torchvision_fetch(self.folder), self.load_raw)
        return raw

    def load(self, data_dir: Path) -> Dataset:
        """Return the dataset; `DataError` if a file is missing or broken."""
        return self.load_raw(self.ensure(data_dir))

    def load_raw(self, raw: Path) -> Dataset:
        """Return the dataset whose four files lie in `raw`; `DataError` if one is broken."""
        train, test = self._examples(raw, "train"), self._examples(raw, "t10k")
        everything = ImageExamples(test.images, test.labels)
        return Dataset(self.name, train, everything, self.class_names, self.mean, self.std, True)

    def _examples(self, raw: Path, part: str) -> GreyExamples:
        images_path = raw / f"{part}-images-idx3-ubyte"
        images = read_images(images_path)
        labels = read_labels(raw / f"{part}-labels-idx1-ubyte", len(self.class_names))
        if len(images) != len(labels):
            raise DataError(
                f"{images_path} holds {len(images)} images, but its labels file {len(labels)} "
                "labels. Delete both and run again to download them."
            )
        int64_labels = torch.from_numpy(labels.astype(np.int64))
        return GreyExamples(images, int64_labels, self.mean, self.std)


Form = tuple[int, tuple[int, int, int]]
"""The number of classes of a data set, and the shape (C, H, W) of its images."""

_FORMS: dict[str, Form] = dict.fromkeys(
    (AUTO_DATA, "mnist", "fashion-mnist", "digits"), (10, (1, 28, 28))
)


def form_of(name: str) -> Form | None:
    """Return the form of a data set without loading it; `None` for one of the user's."""
    return _FORMS.get(name)


MNIST = IdxSource("mnist", "MNIST", 0.1307, 0.3081, _DIGIT_CLASSES)
FASHION_MNIST = IdxSource("fashion-mnist", "FashionMNIST", 0.2860, 0.3530, _FASHION_CLASSES)


def load_mnist(data_dir: Path) -> Dataset:
    """MNIST: 70,000 handwritten digits, downloaded if absent.

    Source: LeCun et al., Proceedings of the IEEE, 1998.
    """
    return MNIST.load(data_dir)


def load_fashion_mnist(data_dir: Path) -> Dataset:
    """Fashion-MNIST: 70,000 pictures of clothes, downloaded if absent.

    Source: Xiao et al., 2017, arXiv:1708.07747.
    """
    return FASHION_MNIST.load(data_dir)


def load_digits(_data_dir: Path) -> Dataset:
    """The 1,797 handwritten digits that come with scikit-learn: real, small, no download.

    The 8x8 images are enlarged to 24x24 (bilinear) and padded by 2 pixels to MNIST's
    [1, 28, 28], and standardised by the training split's mean and deviation. The split
    (1,437 / 360) is one fixed permutation, whatever the run's seed.

    Source: UCI "Optical Recognition of Handwritten Digits", its test set.
    """
    from sklearn.datasets import load_digits as sklearn_digits  # slow, and rarely needed

    bunch = sklearn_digits()
    small = torch.from_numpy(bunch.images.astype(np.float32)).unsqueeze(1) / 16
    large = torch.nn.functional.interpolate(small, size=24, mode="bilinear", align_corners=False)
    images = torch.nn.functional.pad(large, (2, 2, 2, 2))
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    train, test = order[:_DIGITS_TRAIN_EXAMPLES], order[_DIGITS_TRAIN_EXAMPLES:]
    # Rounded like MNIST's constants, so that the order of summation cannot show.
    mean = round(float(images[train].double().mean()), 4)
    std = round(float(images[train].double().std(correction=0)), 4)
    everything = ImageExamples((images - mean) / std, labels)
    split = everything.select(train), everything.select(test)
    return Dataset("digits", *split, _DIGIT_CLASSES, mean, std, light_on_dark=True)


@lru_cache(maxsize=2)
def load_dataset(name: str, data_dir: Path) -> Dataset:
    """Load a dataset, downloading it if absent; later calls in this process are free.

    Args:
        name: A name or a path, with options (not "auto": see `resolve_dataset`).
        data_dir: Folder for all datasets, absolute. MNIST lies in `data_dir/MNIST/raw`.

    Returns:
        The dataset, shared by all callers: do not write to its tensors.

    Raises:
        ConfigError: If there is no such dataset, a function of the user's returns none, or one of
            another name than it is registered under.
        DataError: If a file is missing or broken.
    """
    dataset = part("dataset", name)(data_dir)
    if not isinstance(dataset, Dataset):
        raise ConfigError(
            f'run config: dataset = "{name}" gave a {type(dataset).__name__}; it must give a '
            "Dataset of fl_app.data.datasets"
        )
    registered = known_name("dataset", name)
    if registered is not None and dataset.name != registered:
        # The name is what participants are told to load, and what a saved model says it is of.
        raise ConfigError(
            f'run config: dataset = "{name}" gave a Dataset whose name is {dataset.name!r}; '
            f"give it the name that it is registered under, {registered!r}"
        )
    dataset = replace(dataset, name=name)
    _check_labels(dataset)
    return dataset


def _check_labels(dataset: Dataset) -> None:
    classes = len(dataset.class_names)
    for part_name, examples in (("train", dataset.train), ("test", dataset.test)):
        labels = examples.labels
        if labels.dtype != torch.int64 or labels.ndim != 1:
            raise ConfigError(
                f"run config: dataset = {dataset.name!r}: the labels of {part_name} are "
                f"{labels.dtype} of shape {list(labels.shape)}; they must be int64 [examples]"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ConfigError(
                f"run config: dataset = {dataset.name!r}: the labels of {part_name} go from "
                f"{int(labels.min())} to {int(labels.max())}, but it has {classes} class_names; "
                f"labels are positions in them, from 0 to {classes - 1}"
            )


def resolve_dataset(name: str, data_dir: Path) -> str:
    """Turn "auto" into the dataset to use: MNIST if it can be had, else digits, loudly.

    It may try to download, so resolve once, at the start of a run.

    Returns:
        What `load_dataset` takes.

    Raises:
        ConfigError: If the name is neither "auto" nor that of a dataset.
    """
    if name != AUTO_DATA:
        with told_as_config_error():
            check_name("dataset", name)
        return name
    try:
        MNIST.ensure(data_dir)
    except DataError as error:
        logging.getLogger("flwr").warning(_fallback_notice(error, data_dir))
        return "digits"
    return "mnist"


def _fallback_notice(error: DataError, data_dir: Path) -> str:
    lines = (
        "THIS RUN DOES NOT USE MNIST but the small 'digits' set: do not compare its results.",
        f"Why: {error}",
        f"To get MNIST: connect to the network once, or put {', '.join(_IDX_FILES)} "
        f"into {data_dir / MNIST.folder / 'raw'}.",
        'To choose digits without this notice: dataset="digits".',
    )
    # Paths and file names stay whole, to be copied.
    wrap = textwrap.TextWrapper(84, break_on_hyphens=False, break_long_words=False).wrap
    boxed = [f"| {part}" for line in lines for part in wrap(line)]
    return "\n".join(("", "=" * 88, *boxed, "=" * 88))
