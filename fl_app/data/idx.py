"""Read the IDX files in which MNIST and its relatives are published."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fl_app.core.errors import DataError

_UNSIGNED_BYTE = 0x08
_MEND = "Delete it and run again to download it, or set data-dir to a folder with intact files."


def read_images(path: Path) -> npt.NDArray[np.uint8]:
    """Read grey images.

    Args:
        path: An uncompressed IDX file with three dimensions.

    Returns:
        uint8 pixels 0 (background) to 255, shaped [N, H, W].

    Raises:
        DataError: If the file is unreadable, is not such a file, or holds no image.

    Source: the format's description by LeCun, Cortes and Burges (the MNIST database).
    """
    images = _read(path, dimensions=3)
    if images.size == 0:
        raise DataError(f"{path} holds no image. {_MEND}")
    return images


def read_labels(path: Path, num_classes: int) -> npt.NDArray[np.uint8]:
    """Read class labels and check their range.

    Args:
        path: An uncompressed IDX file with one dimension.
        num_classes: Labels must lie in [0, num_classes).

    Returns:
        uint8 labels shaped [N].

    Raises:
        DataError: If the file is unreadable, is not such a file, or a label is out of range.
    """
    labels = _read(path, dimensions=1)
    if labels.size and int(labels.max()) >= num_classes:
        raise DataError(
            f"{path} holds the label {int(labels.max())}; labels go from 0 to {num_classes - 1}. "
            f"{_MEND}"
        )
    return labels


def _read(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Check magic number, shape and exact size, then return the bytes in that shape."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. {_MEND}") from error
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    header = 4 + 4 * dimensions
    if len(raw) < header:
        raise DataError(f"{path} is cut short: {len(raw)} bytes, less than its header. {_MEND}")
    if raw[:4] != magic:
        raise DataError(
            f"{path} is not an IDX file of bytes with {dimensions} dimension(s): "
            f"it starts with {raw[:4].hex()} instead of {magic.hex()}. {_MEND}"
        )
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", dimensions, offset=4))
    # Python integers: a corrupt header must not overflow into a plausible size.
    expected = header + math.prod(shape)
    if len(raw) != expected:
        raise DataError(
            f"{path} has {len(raw)} bytes where its header {shape} means {expected}. {_MEND}"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)
