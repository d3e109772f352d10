"""Datasets as tensors, and where their files live.

To add a dataset, write a function `Path -> Dataset` and add its line to `DATASETS`.
"""

import logging
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from fl_app.core.errors import DataError
from fl_app.data.download import ensure_files, torchvision_fetch
from fl_app.data.idx import read_images, read_labels
from fl_app.data.tensor_dataset import Examples, GreyExamples

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
        name: Its name in the run config.
        train: The training examples.
        test: The test examples.
        class_names: One per label.
        mean: Subtracted from pixels in [0, 1].
        std: Divided by after that.
    """

    name: str
    train: Examples | GreyExamples
    test: Examples
    class_names: tuple[str, ...]
    mean: float
    std: float


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
        everything = Examples(test.images, test.labels)
        return Dataset(self.name, train, everything, self.class_names, self.mean, self.std)

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
    everything = Examples((images - mean) / std, labels)
    split = everything.select(train), everything.select(test)
    return Dataset("digits", *split, _DIGIT_CLASSES, mean, std)


MNIST = IdxSource("mnist", "MNIST", 0.1307, 0.3081, _DIGIT_CLASSES)
FASHION_MNIST = IdxSource("fashion-mnist", "FashionMNIST", 0.2860, 0.3530, _FASHION_CLASSES)

DATASETS: Mapping[str, Callable[[Path], Dataset]] = {
    "mnist": MNIST.load,
    "fashion-mnist": FASHION_MNIST.load,
    "digits": load_digits,
}


@lru_cache(maxsize=2)
def load_dataset(name: str, data_dir: Path) -> Dataset:
    """Load a dataset, downloading it if absent; later calls in this process are free.

    Args:
        name: A key of `DATASETS` (not "auto": see `resolve_dataset`).
        data_dir: Folder for all datasets, absolute. MNIST lies in `data_dir/MNIST/raw`.

    Returns:
        The dataset, shared by all callers: do not write to its tensors.

    Raises:
        DataError: If the name is unknown, or a file is missing or broken.
    """
    return DATASETS[_known(name)](data_dir)


def resolve_dataset(name: str, data_dir: Path) -> str:
    """Turn "auto" into the dataset to use: MNIST if it can be had, else digits, loudly.

    It may try to download, so resolve once, at the start of a run.

    Returns:
        A key of `DATASETS`.

    Raises:
        DataError: If the name is neither "auto" nor a key of `DATASETS`.
    """
    if name != "auto":
        return _known(name)
    try:
        MNIST.ensure(data_dir)
    except DataError as error:
        logging.getLogger("flwr").warning(_fallback_notice(error, data_dir))
        return "digits"
    return "mnist"


def _known(name: str) -> str:
    if name not in DATASETS:
        allowed = ", ".join(("auto", *DATASETS))
        raise DataError(f"Dataset {name!r} is unknown. Set dataset to one of: {allowed}.")
    return name


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
