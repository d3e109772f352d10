"""A participant's own data: read, checked, standardised and divided, without Flower.

Data is one of: a folder of class-named folders of pictures; an .npz with `images` and `labels`;
a folder with one IDX file of images and one of labels, as MNIST is published.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fl_app.core.errors import DataError
from fl_app.data.local_files.image_folder import read_image_folder
from fl_app.data.local_files.npz import find_idx_files, read_idx_pair, read_npz
from fl_app.data.local_files.schema import Agreement, LabelledImages
from fl_app.data.local_files.split import hold_out
from fl_app.data.tensor_dataset import Examples


@dataclass(frozen=True)
class OwnDataSpec:
    """Where a participant's data is, and what it must agree with.

    Attributes:
        data: A folder or an .npz file.
        test_data: The same for evaluation; None holds out a share of `data`.
        class_names: One per output of the model, in its order, agreed by all participants.
        image_shape: (C, H, W) that the model takes.
        mean: Subtracted from pixels scaled to [0, 1].
        std: Divided by after that; positive.
        holdout_fraction: Share of `data` held out without `test_data`, in [0, 1).
        seed: Of the hold-out.
        participant: Name of the participant; also decides the hold-out.
    """

    data: Path
    test_data: Path | None
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: float
    std: float
    holdout_fraction: float
    seed: int
    participant: str


@dataclass(frozen=True, eq=False)
class LocalData:
    """A participant's examples: to train on, and to evaluate on (may be empty)."""

    train: Examples
    test: Examples


def load_own_data(spec: OwnDataSpec) -> LocalData:
    """Read a participant's data; nothing is cached.

    Args:
        spec: Where, and what it must agree with.

    Returns:
        float32 images [N, C, H, W], standardised, and int64 labels [N].

    Raises:
        DataError: If something is missing, broken or not as agreed; the message names the file,
            what is wrong with it and what would be right.
    """
    if not (math.isfinite(spec.mean) and math.isfinite(spec.std) and spec.std > 0):
        raise DataError(
            f"mean = {spec.mean} and std = {spec.std} must be finite, and std positive."
        )
    agreement = Agreement(spec.class_names, spec.image_shape)
    data = _read(spec.data, agreement)
    if spec.test_data is None:
        train, test = hold_out(data, spec.holdout_fraction, spec.seed, spec.participant)
        everything = _standardise(data, spec)
        return LocalData(everything.select(train), everything.select(test))
    if spec.test_data.resolve() == spec.data.resolve():
        raise DataError(f"{spec.data} is both the data and the test data; give different ones.")
    test_data = _read(spec.test_data, agreement)
    return LocalData(_standardise(data, spec), _standardise(test_data, spec))


def _read(path: Path, agreement: Agreement) -> LabelledImages:
    """Read whatever is at `path`, and log what is remarkable about it."""
    try:
        data = _read_source(path, agreement)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    log = logging.getLogger("flwr")
    counts = np.bincount(data.labels, minlength=len(agreement.class_names))
    absent = [n for n, count in zip(agreement.class_names, counts, strict=True) if not count]
    if absent:
        log.info("%s has no examples of: %s", path, ", ".join(absent))
    if data.images.dtype == np.uint8 and int(data.images.max()) <= 1:
        log.warning("%s: no pixel is above 1 of 255; were they meant to be 0 to 255?", path)
    return data


def _read_source(path: Path, agreement: Agreement) -> LabelledImages:
    if path.is_dir():
        if find_idx_files(path):
            return read_idx_pair(path, agreement)
        return read_image_folder(path, agreement)
    if not path.exists():
        raise DataError(
            f"{path} does not exist on this machine. Give the absolute path of a folder of "
            "pictures in class folders, of an .npz file, or of a folder with two IDX files."
        )
    if path.suffix.casefold() != ".npz":
        raise DataError(f"{path} is neither a folder nor an .npz file; give one of them.")
    return read_npz(path, agreement)


def _standardise(data: LabelledImages, spec: OwnDataSpec) -> Examples:
    """Scale all pixels to [0, 1] and standardise them; for uint8 exactly as `normalise` does."""
    pixels = torch.from_numpy(np.ascontiguousarray(data.images, np.float32))
    if pixels.data_ptr() == data.images.ctypes.data:  # float32 already: not ours to change
        pixels = pixels.clone()
    if data.images.dtype == np.uint8:
        pixels.div_(255)
    pixels.sub_(torch.tensor(spec.mean)).div_(torch.tensor(spec.std))
    return Examples(pixels, torch.from_numpy(data.labels))
