"""Read a folder of class-named folders of pictures."""

import logging
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fl_app.core.errors import DataError
from fl_app.data.local_files.picture import read_picture
from fl_app.data.local_files.schema import Agreement, LabelledImages

_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}
_SHOWN_FAULTS = 5
_SPECIAL: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

Files = list[tuple[Path, int]]
"""The files of a folder in the order in which they are read, each with its class."""


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
        uint8 pictures, upright. The remarks count those that were of another kind than the
        model's and were converted: without loss, unless the agreement has them all converted.

    Raises:
        DataError: If a folder is no agreed class, two are the same class, there is no picture,
            or files are no pictures, damaged, or not of the model's size; the first five are
            named.
    """
    return read_pictures(folder, list_pictures(folder, agreement), agreement)


def read_pictures(folder: Path, files: Files, agreement: Agreement) -> LabelledImages:
    """Read the files that `list_pictures` found; see `read_image_folder`."""
    agreement.refuse_if_too_large(folder, len(files))
    images = np.empty((len(files), *agreement.image_shape), np.uint8)
    faults: list[str] = []
    conversions: Counter[str] = Counter()
    for index, (path, _) in enumerate(files):
        try:
            picture = read_picture(path, agreement.image_shape, agreement.convert)
        except DataError as error:
            faults.append(str(error))
            continue
        images[index] = picture.pixels
        if picture.conversion:
            conversions[picture.conversion] += 1
    if len(faults) == 1:
        raise DataError(faults[0])
    if faults:
        shown = "\n".join(f"  - {fault}" for fault in faults[:_SHOWN_FAULTS])
        more = len(faults) - _SHOWN_FAULTS
        rest = f"\n  - and {more} more" if more > 0 else ""
        raise DataError(f"{len(faults)} files below {folder} cannot be used:\n{shown}{rest}")
    how = "converted as agreed" if agreement.convert else "converted without loss"
    remarks = tuple(
        f"{folder}: {how}: {conversion}, {count} of {len(files)} pictures"
        for conversion, count in sorted(conversions.items())
    )
    return LabelledImages(images, np.array([label for _, label in files], np.int64), remarks)


def list_pictures(folder: Path, agreement: Agreement) -> Files:
    """Return every file to read and its class, in order; nothing is opened.

    Raises:
        DataError: See `read_image_folder`.
    """
    known, skipped = agreement.indices_by_name(), [0]
    classes: dict[int, Path] = {}
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        name = unicodedata.normalize("NFC", entry.name).strip()
        if _is_junk(entry.name) and name not in known:  # ".net" may be a class
            skipped[0] += 1
        elif not entry.is_dir():
            raise DataError(
                f"{entry} lies beside the class folders. Put pictures into a folder named after "
                f"their class, and give an .npz by its own path. {agreement.agreed}"
            )
        elif name not in known:
            raise agreement.unknown_class(name, f"The folder {entry} is named {name!r}, which")
        elif known[name] in classes:
            raise _same_class(classes[known[name]], entry, agreement.class_names[known[name]])
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
            _refuse_special(entry)
            files.append(entry)
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def _refuse_special(path: Path) -> None:
    """Refuse what is no file: to open a FIFO that nobody writes to would wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    for is_such, kind in _SPECIAL:
        if is_such(mode):
            raise DataError(f"{path} is {kind} and no picture. Move it elsewhere.")


def _same_class(first: Path, second: Path, class_name: str) -> DataError:
    # ascii() shows what makes them two: a blank, or an accent apart from its letter.
    return DataError(
        f"The folders {first.name!a} and {second.name!a} in {first.parent} both stand "
        f"for the class {class_name!r}. Put their pictures into one folder."
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read: {error.strerror}.") from error


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _JUNK
