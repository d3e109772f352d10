"""Read a folder of class-named folders of pictures."""

import logging
import os
import struct
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from fl_app.core.errors import DataError
from fl_app.data.local_files.schema import Agreement, LabelledImages, describe_shape

_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}
_SHOWN_FAULTS = 5
# What Pillow's decoders let through on damaged files.
_DAMAGED = (
    *(OSError, ValueError, TypeError, SyntaxError, EOFError),
    *(ArithmeticError, LookupError, struct.error),
)
_GREY, _COLOUR, _WITH_ALPHA = ("L", "1", "P"), ("RGB", "P"), ("RGBA",)
# Not all that Pillow knows: to read EPS, for one, it starts another program.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_MODES = {1: _GREY, 3: _COLOUR, 4: _WITH_ALPHA}


def read_image_folder(folder: Path, agreement: Agreement) -> LabelledImages:
    """Read all pictures below a folder whose subfolders are named after the classes.

    Pictures may lie in further folders below those. Hidden files and what file managers leave
    behind are skipped and counted in the log. The order is that of the agreed classes, then of
    the names.

    Args:
        folder: Holds one folder per class ("_" stands for "/" in a class name). Classes may
            be absent.
        agreement: The classes, and the shape that every picture must have.

    Returns:
        uint8 pictures, upright, not resized.

    Raises:
        DataError: If a folder is no agreed class, there is no picture, or files are no
            pictures, damaged, or not of the model's size; the first five are named.
    """
    files = _list_pictures(folder, agreement)
    agreement.refuse_if_too_large(folder, len(files))
    images = np.empty((len(files), *agreement.image_shape), np.uint8)
    faults: list[str] = []
    for index, (path, _) in enumerate(files):
        try:
            images[index] = read_picture(path, agreement.image_shape)
        except DataError as error:
            faults.append(str(error))
    if len(faults) == 1:
        raise DataError(faults[0])
    if faults:
        shown = "\n".join(f"  - {fault}" for fault in faults[:_SHOWN_FAULTS])
        more = len(faults) - _SHOWN_FAULTS
        rest = f"\n  - and {more} more" if more > 0 else ""
        raise DataError(f"{len(faults)} files below {folder} cannot be used:\n{shown}{rest}")
    return LabelledImages(images, np.array([label for _, label in files], np.int64))


def read_picture(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Read one picture of exactly the wanted shape; nothing is decoded before that is known.

    Args:
        path: PNG, JPEG, BMP, GIF, TIFF, WebP or PPM.
        shape: (C, H, W); C is 1 (grey), 3 (red, green, blue) or 4 (with alpha).

    Returns:
        uint8 [C, H, W].

    Raises:
        DataError: If it is no picture, is damaged, animated, transparent, of another size or
            another kind of pixel.
    """
    try:
        with warnings.catch_warnings():
            # A bomb is of the wrong size, and that is what it is refused for.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                return _pixels(image, path, shape)
    except UnidentifiedImageError:
        raise DataError(
            f"{path} is not an intact picture in a format read here "
            f"({', '.join(_FORMATS)}). Move it elsewhere, or save it as PNG."
        ) from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{path} claims to be far larger than any picture; "
            f"the model takes pictures {describe_shape(*shape)}."
        ) from None
    except _DAMAGED as error:
        raise DataError(
            f"{path} is damaged or cannot be read ({error}). Replace it or move it elsewhere."
        ) from error


def _pixels(image: Image.Image, path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    channels, height, width = shape
    # Values 5 to 8 of the EXIF orientation turn the picture by a quarter.
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    found_width, found_height = reversed(image.size) if turned else image.size
    if (found_width, found_height) != (width, height):
        raise DataError(
            f"{path} is {found_width} pixels wide and {found_height} high; the model takes "
            f"pictures {width} wide and {height} high. Resize the pictures before you start."
        )
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise DataError(f"{path} has several frames; save the one that you mean as a picture.")
    if image.mode not in _MODES.get(channels, ()):
        raise _wrong_kind(image, path, channels)
    if channels != 4 and image.has_transparency_data:
        raise DataError(f"{path} has transparent parts; save it on a plain background.")
    grey_palette = image.mode == "P" and channels == 1
    upright = ImageOps.exif_transpose(image)
    if grey_palette:
        colours = np.asarray(upright.convert("RGB"))
        if (colours != colours[..., :1]).any():
            raise _wrong_kind(image, path, channels)
    array: npt.NDArray[Any] = np.asarray(upright.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    return array.reshape(height, width, channels).transpose(2, 0, 1)


def _wrong_kind(image: Image.Image, path: Path, channels: int) -> DataError:
    bands = len(image.getbands())
    kinds = {1: "grey", 3: "red, green and blue", 4: "red, green, blue and alpha"}
    found = f"{bands} channel{'s' * (bands != 1)} (Pillow's mode {image.mode})"
    if image.mode.startswith(("I", "F")):
        found = f"more than 8 bits per pixel (Pillow's mode {image.mode})"
    elif image.mode == "P":
        found = "a palette of colours"
    wanted = f"{channels} channel{'s' * (channels != 1)}"
    kind = f" ({kinds[channels]})" if channels in kinds else ""
    return DataError(
        f"{path} has {found}; the model takes pictures of {wanted}{kind} with 8 bits each. "
        "Convert the pictures before you start."
    )


def _list_pictures(folder: Path, agreement: Agreement) -> list[tuple[Path, int]]:
    """Return every file to read and its class, in order."""
    known, skipped = agreement.indices_by_name(), [0]
    classes: dict[int, Path] = {}
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        name = unicodedata.normalize("NFC", entry.name).strip()
        if _is_junk(entry.name):
            skipped[0] += 1
        elif not entry.is_dir():
            raise DataError(
                f"{entry} lies beside the class folders. Put pictures into a folder named after "
                f"their class, and give an .npz by its own path. {agreement.agreed}"
            )
        elif name not in known:
            raise agreement.unknown_class(name, f"The folder {entry} is named {name!r}, which")
        else:
            classes[known[name]] = entry
    files = [(p, label) for label in sorted(classes) for p in _walk(classes[label], skipped)]
    if skipped[0]:
        logging.getLogger("flwr").info("%s: skipped %d hidden files", folder, skipped[0])
    if not files:
        raise DataError(
            f"{folder} holds no pictures. It needs one folder per class, with pictures in it, "
            f"or MNIST's two files. {agreement.agreed}"
        )
    return files


def _walk(folder: Path, skipped: list[int]) -> list[Path]:
    files: list[Path] = []
    for entry in _entries(folder):
        if _is_junk(entry.name):
            skipped[0] += 1
        elif entry.is_dir():
            if entry.is_symlink():  # may lead in a circle
                raise DataError(f"{entry} is a link to a folder; put the folder itself there.")
            files += _walk(entry, skipped)
        else:
            files.append(entry)
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def _entries(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read: {error.strerror}.") from error


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _JUNK
