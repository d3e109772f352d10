"""A participant's own data: read, checked, standardised and divided, without Flower.

Data is one of: a folder of class-named folders of pictures; an .npz with `images` and `labels`;
a folder with one IDX file of images and one of labels, as MNIST is published.
"""

import logging
import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fl_app.core.errors import DataError
from fl_app.data.local_data import LocalData, refuse_same
from fl_app.data.local_files.cache import PictureCache, cache_key
from fl_app.data.local_files.conversion import describe_conversion
from fl_app.data.local_files.image_folder import list_pictures, read_image_folder, read_pictures
from fl_app.data.local_files.npz import find_idx_files, read_idx_pair, read_npz
from fl_app.data.local_files.schema import Agreement, LabelledImages
from fl_app.data.local_files.split import HoldOut, IntArray
from fl_app.data.tensor_dataset import ImageExamples

WORTH_KEEPING_SECONDS = 1.0
"""What is read faster is not kept decoded: there is little to gain."""

_EXAMPLES_PER_COPY = 256
_KEPT = ("images", "labels", "train", "test", "remarks")


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
        convert: Whether images of any size, grey or colour, are brought into `image_shape`; else
            those of another are refused.
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
    convert: bool = False


def load_own_data(spec: OwnDataSpec, cache: PictureCache | None = None) -> LocalData[ImageExamples]:
    """Read a participant's data.

    Args:
        spec: Where, and what it must agree with.
        cache: Where pictures are kept decoded, if anywhere.

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
    agreement = Agreement(spec.class_names, spec.image_shape, spec.convert)
    if spec.test_data is None:
        share = HoldOut(spec.holdout_fraction, spec.seed, spec.participant)
        data, (train, test) = _read_divided(spec.data, agreement, share, cache)
        return LocalData(
            partial(_standardise, data, train, spec.mean, spec.std),
            partial(_standardise, data, test, spec.mean, spec.std),
            data.remarks,
        )
    refuse_same(spec.data, spec.test_data)
    data, (everything, _) = _read_divided(spec.data, agreement, HoldOut(), cache)
    test_data, (all_test, _) = _read_divided(spec.test_data, agreement, HoldOut(), cache)
    return LocalData(
        partial(_standardise, data, everything, spec.mean, spec.std),
        partial(_standardise, test_data, all_test, spec.mean, spec.std),
        data.remarks + test_data.remarks,
    )


def load_examples(path: Path, agreement: Agreement, mean: float, std: float) -> ImageExamples:
    """Read all examples at a path, as a participant's are read; see `load_own_data`."""
    data, (everything, _) = _read_divided(path, agreement, HoldOut(), None)
    return _standardise(data, everything, mean, std)


def _read_divided(
    path: Path, agreement: Agreement, share: HoldOut, cache: PictureCache | None
) -> tuple[LabelledImages, tuple[IntArray, IntArray]]:
    """Read whatever is at `path`, hold a share of it out, and log what is remarkable about it."""
    try:
        if cache is not None and _holds_pictures(path):
            with cache.forgetting_on_error(path):
                data, parts = _read_cached(path, agreement, share, cache)
        else:
            if cache is not None:
                cache.forget(path)  # the folder of pictures that was there once, if any
            data = _read_source(path, agreement)
            parts = share.of(data)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    log = logging.getLogger("flwr")
    counts = np.bincount(data.labels, minlength=len(agreement.class_names))
    absent = [n for n, count in zip(agreement.class_names, counts, strict=True) if not count]
    if absent:
        log.info("%s has no examples of: %s", path, ", ".join(absent))
    if data.images.dtype == np.uint8 and int(data.images.max()) <= 1:
        log.warning("%s: no pixel is above 1 of 255; were they meant to be 0 to 255?", path)
    for remark in data.remarks:
        log.info("%s", remark)
    return data, parts


def _read_cached(
    folder: Path, agreement: Agreement, share: HoldOut, cache: PictureCache
) -> tuple[LabelledImages, tuple[IntArray, IntArray]]:
    """Read a folder of pictures, or what was kept of it if not a file has changed."""
    how: dict[str, Any] = {"agreement": asdict(agreement), "hold-out": asdict(share)}
    if agreement.convert:
        from torchvision import __version__ as torchvision_version

        how["conversion"] = [describe_conversion(agreement.image_shape), torchvision_version]
    files = list_pictures(folder, agreement)
    key = cache_key(files, how)
    kept = None if key is None else cache.load(folder, key, _KEPT)
    if kept is not None:
        remarks = tuple(map(str, kept["remarks"]))
        return LabelledImages(kept["images"], kept["labels"], remarks), (
            kept["train"],
            kept["test"],
        )
    start = time.monotonic()
    data = read_pictures(folder, files, agreement)
    train, test = share.of(data)
    worth = time.monotonic() - start >= WORTH_KEEPING_SECONDS
    # Listed again, so that what is kept is not a mixture of what was there before and after.
    if worth and key is not None and key == cache_key(list_pictures(folder, agreement), how):
        remarks_array = np.array(data.remarks, dtype=np.str_)
        arrays = {"images": data.images, "labels": data.labels, "train": train, "test": test}
        cache.save(folder, key, arrays | {"remarks": remarks_array})
    return data, (train, test)


def _holds_pictures(path: Path) -> bool:
    return path.is_dir() and not find_idx_files(path)


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
    # To open a FIFO would wait until somebody writes to it.
    if path.suffix.casefold() != ".npz" or not path.is_file():
        raise DataError(f"{path} is neither a folder nor an .npz file; give one of them.")
    return read_npz(path, agreement)


def _standardise(data: LabelledImages, part: IntArray, mean: float, std: float) -> ImageExamples:
    """Scale a part of all pixels to [0, 1] and standardise them; uint8 as `normalise` does."""
    images = np.empty((len(part), *data.images.shape[1:]), np.float32)
    for start in range(0, len(part), _EXAMPLES_PER_COPY):  # without a second copy of them all
        images[start : start + _EXAMPLES_PER_COPY] = data.images[
            part[start : start + _EXAMPLES_PER_COPY]
        ]
    pixels = torch.from_numpy(images)
    if data.images.dtype == np.uint8:
        pixels.div_(255)
    pixels.sub_(torch.tensor(mean)).div_(torch.tensor(std))
    return ImageExamples(pixels, torch.from_numpy(data.labels[part]))
