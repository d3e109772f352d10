"""Read labelled images from arrays: NumPy's .npz, and MNIST's IDX files."""

import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from fl_app.core.errors import DataError
from fl_app.data.idx import read_images, read_labels
from fl_app.data.local_files.array_labels import labelled_images
from fl_app.data.local_files.conversion import convert_array
from fl_app.data.local_files.schema import (
    Agreement,
    LabelledImages,
    describe_shape,
    listing,
    resizing_advice,
)

_IDX_NAME = re.compile(r".+[-._](images|labels)[-._]idx[13][-._]ubyte(\.gz)?", re.IGNORECASE)
_SAVE = "Save it with numpy.savez(path, images=..., labels=...)."
_CHANNELS = (1, 3)  # that are converted
# Longest name of a class in an .npz, in bytes; labels are read before they can be checked.
_LONGEST_LABEL = 4096

Header = tuple[tuple[int, ...], np.dtype[Any]]


def read_npz(path: Path, agreement: Agreement) -> LabelledImages:
    """Read an .npz with the arrays `images` and `labels`; nothing in it is ever unpickled.

    Args:
        path: `images` is [N, H, W], [N, H, W, C] or [N, C, H, W], uint8 0 to 255 or a float
            type 0 to 1; `labels` is [N], the names of the classes or numbers, which are positions
            in the class names, or the names themselves where all of these are numbers.
        agreement: The classes, and the shape of the images, into which they may be converted.

    Returns:
        The images as [N, C, H, W] in the type they were stored in; converted, in uint8 or float32.

    Raises:
        DataError: If the file is no such file, or something in it does not fit; shapes and
            types are checked before the arrays are unpacked.
    """
    try:
        headers = _read_headers(path)
        missing = [name for name in ("images", "labels") if name not in headers]
        if missing:
            found = listing(sorted(headers)) or "none"
            raise DataError(f"{path} has no array {missing[0]!r}; its arrays: {found}. {_SAVE}")
        _check_headers(path, headers["images"], headers["labels"], agreement)
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not an intact .npz file ({error}). {_SAVE}") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or an odd compression
        raise DataError(f"{path} cannot be unpacked ({error}). {_SAVE}") from error
    if images.ndim == 3:
        images = images[:, np.newaxis]
    elif _channels_last(images.shape, agreement):
        images = images.transpose(0, 3, 1, 2)
    _check_range(path, images)
    return _converted(path, labelled_images(path, images, labels, agreement), agreement)


def find_idx_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are named like MNIST's."""
    # A leading dot marks the twin that macOS leaves beside a file on foreign disks.
    named = [path for path in folder.iterdir() if _IDX_NAME.fullmatch(path.name)]
    return sorted(path for path in named if path.is_file() and path.name[0] != ".")


def read_idx_pair(folder: Path, agreement: Agreement) -> LabelledImages:
    """Read one IDX file of images and one of labels, under any of the names of MNIST's files.

    Returns:
        uint8 images [N, 1, H, W].

    Raises:
        DataError: If there is not exactly one of each, one is compressed or broken, or they
            do not fit each other or the agreement.
    """
    files = find_idx_files(folder)
    images_files = [path for path in files if "images" in path.name.casefold()]
    labels_files = [path for path in files if "labels" in path.name.casefold()]
    packed = [path for path in files if path.suffix.casefold() == ".gz"]
    if packed:
        raise DataError(f"{packed[0]} is compressed; unpack it with gunzip.")
    if (len(images_files), len(labels_files)) != (1, 1):
        raise DataError(
            f"{folder} holds {len(images_files)} IDX files of images and {len(labels_files)} of "
            f"labels ({listing([path.name for path in files])}); it must hold one of each. "
            "Put test data into a folder of its own."
        )
    try:
        images, labels = read_images(images_files[0]), read_labels(labels_files[0], 256)
    except DataError as error:
        # The reader's advice is to download the file again: it is meant for MNIST itself.
        fault = str(error).partition(" Delete it")[0]
        raise DataError(f"{fault} Replace it with an intact IDX file of bytes.") from error
    _check_shape(images_files[0], images.shape, agreement)
    _check_counts(folder, len(images), len(labels))
    agreement.refuse_if_too_large(folder, len(images))
    labelled = labelled_images(labels_files[0], images[:, np.newaxis], labels, agreement)
    return _converted(images_files[0], labelled, agreement)


def _read_headers(path: Path) -> dict[str, Header]:
    """Return shape and type of every array, without unpacking any."""
    headers: dict[str, Header] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = npy.read_magic(member)
                old = version == (1, 0)
                read = npy.read_array_header_1_0 if old else npy.read_array_header_2_0
                shape, _, dtype = read(member)
            array = name.removesuffix(".npy")
            if array in headers:  # which one NumPy would load is nobody's guess
                raise ValueError(f"it holds {array!r} twice")
            headers[array] = (shape, dtype)
    return headers


def _check_headers(path: Path, images: Header, labels: Header, agreement: Agreement) -> None:
    (image_shape, image_type), (label_shape, label_type) = images, labels
    if image_type != np.uint8 and image_type.kind != "f":
        raise DataError(
            f"{path}: images is of type {image_type}; it must be uint8 (0 to 255) or a float "
            "type (0 to 1). Convert it, knowing what its largest value means."
        )
    # Object arrays would have to be unpickled, which runs what the file says.
    if label_type.kind not in "iuUS":
        raise DataError(
            f"{path}: labels is of type {label_type}; it must hold whole numbers or text, for "
            "instance numpy.array(labels, dtype=str)."
        )
    if label_type.itemsize > _LONGEST_LABEL:
        raise DataError(f"{path}: labels has {label_type.itemsize} bytes per label. Shorten them.")
    if len(label_shape) != 1:
        raise DataError(f"{path}: labels has shape {label_shape}; it must be one label per image.")
    _check_shape(path, image_shape, agreement)
    _check_counts(path, image_shape[0], label_shape[0])
    raw = math.prod(image_shape) * image_type.itemsize if agreement.convert else 0
    agreement.refuse_if_too_large(path, image_shape[0], raw)


def _check_shape(path: Path, shape: tuple[int, ...], agreement: Agreement) -> None:
    if shape[:1] == (0,):
        raise DataError(f"{path} holds no images. At least two are needed.")
    channels, height, width = agreement.image_shape
    if agreement.convert:
        _check_convertible(path, shape)
        return
    allowed: list[tuple[int, ...]] = [(channels, height, width), (height, width, channels)]
    if channels == 1:
        allowed.append((height, width))
    if len(shape) < 2 or shape[1:] not in allowed:
        layouts = " or ".join(str(("N", *layout)).replace("'", "") for layout in allowed)
        raise DataError(
            f"{path} has images of shape {shape}; it must be {layouts}, because the model takes "
            f"images {describe_shape(channels, height, width)}. {resizing_advice(height, width)}"
        )


def _check_convertible(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse images of which it cannot be told which side is the channels."""
    in_colour = len(shape) == 4 and (shape[1] in _CHANNELS) != (shape[3] in _CHANNELS)
    if (len(shape) != 3 and not in_colour) or math.prod(shape) == 0:
        raise DataError(
            f"{path} has images of shape {shape}; it must be (N, height, width), or with 1 or 3 "
            "channels (N, height, width, channels) or (N, channels, height, width)"
        )


def _channels_last(shape: tuple[int, ...], agreement: Agreement) -> bool:
    return shape[3] in _CHANNELS if agreement.convert else shape[1:] != agreement.image_shape


def _converted(path: Path, data: LabelledImages, agreement: Agreement) -> LabelledImages:
    """Bring images into the agreed shape where that is agreed, and say so."""
    found = data.images.shape[1:]
    if not agreement.convert or found == agreement.image_shape:
        return data
    what = f"{describe_shape(*found)} to {describe_shape(*agreement.image_shape)}"
    remark = f"{path}: converted as agreed: {what}, {len(data.labels)} images"
    images = convert_array(data.images, agreement.image_shape)
    return LabelledImages(images, data.labels, (*data.remarks, remark))


def _check_counts(path: Path, images: int, labels: int) -> None:
    if images != labels:
        raise DataError(f"{path} holds {images} images but {labels} labels; there must be one each")


def _check_range(path: Path, images: npt.NDArray[Any]) -> None:
    """Check that float pixels are plain shares of white."""
    if images.dtype.kind != "f":
        return
    low, high = float(images.min()), float(images.max())  # NaN, if there is one
    if not np.isfinite([low, high]).all():
        bad = int((~np.isfinite(images).all(axis=(1, 2, 3))).argmax())
        raise DataError(
            f"{path}: image {bad} has a pixel that is not a finite number (NaN or infinite). "
            "Mend or remove it."
        )
    if low < 0 or high > 1:
        raise DataError(
            f"{path}: pixels of type {images.dtype} go from {low:g} to {high:g}; they must lie "
            "between 0 (black) and 1 (white). Do not standardise them: that is done here."
        )
