"""What a participant's own images must agree with, and the form in which they are read."""

import difflib
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_app.core.errors import DataError

CONVERT_FIRST = "Convert the pictures before you start."

_WHOLE_NUMBER = re.compile(r"([+-]?\d{1,18})(?:\.0*)?")


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images as they were read, before they are standardised.

    Attributes:
        images: uint8 0 to 255, or a float type 0 to 1; [N, C, H, W].
        labels: int64 [N], positions in the agreed class names.
        remarks: What was done to them that whoever owns them should know, in sentences.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """What all participants of a federation agreed on.

    Attributes:
        class_names: One per output of the model, in its order.
        image_shape: (C, H, W) that the model takes.
        convert: Whether images of any size, grey or colour, are brought into that shape; else those
            of another are refused.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    convert: bool = False

    def __post_init__(self) -> None:
        names = [folder_name(name) for name in self.class_names]
        if not names or not all(names):
            raise DataError("The agreed class names are missing, or one is empty; name every class")
        if twice := same_class(self.class_names):
            raise DataError(
                f"The agreed class names {twice[0]!a} and {twice[1]!a} stand for one "
                f"folder, {folder_name(twice[0])!r}; make each unique"
            )
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise DataError(
                f"The model's image shape {self.image_shape} must be three positive numbers: "
                "channels, height, width"
            )
        if self.convert and self.image_shape[0] not in (1, 3):
            raise DataError(
                f"Images are converted to 1 channel or 3, and the model takes {self.image_shape[0]}"
            )

    @property
    def agreed(self) -> str:
        """The class names, as a sentence of an error message."""
        return f"The agreed classes are: {', '.join(self.class_names)}."

    def indices_by_name(self) -> dict[str, int]:
        """Return the position of each class under its `folder_name`."""
        return {folder_name(name): index for index, name in enumerate(self.class_names)}

    def indices_by_number(self) -> dict[int, int] | None:
        """Return the position of each class under the number that labels have for it.

        Where all names are numbers, that is the name; where none is, the position; and also
        where the names that are numbers stand at just these positions.

        Returns:
            `None` where a number could mean two classes: "1" of the classes "1,2,other" is the
            first by its name and the second by its position.
        """
        numbers = [_number(name) for name in self.class_names]
        named = {n: index for index, n in enumerate(numbers) if n is not None}
        if len(named) == len(numbers):
            return named
        if len(named) == sum(n is not None for n in numbers) and all(
            number == index for number, index in named.items()
        ):
            return {index: index for index in range(len(numbers))}
        return None

    def unknown_class(self, found: str, what: str) -> DataError:
        """Make the error for a class that nobody agreed on.

        Args:
            found: The name.
            what: Says where, for instance "The folder /data/dog is named 'dog', which".
        """
        by_fold = {name.casefold(): name for name in self.class_names}
        near = difflib.get_close_matches(found.casefold(), by_fold, n=1, cutoff=0.7)
        hint = f" Did you mean {by_fold[near[0]]!r}?" if near else ""
        return DataError(f"{what} is not an agreed class.{hint} {self.agreed}")

    def refuse_if_too_large(self, path: Path, count: int, raw_bytes: int = 0) -> None:
        """Refuse images whose float32 form would take more than half of this machine's memory.

        Args:
            path: Of the images, for the message.
            count: How many there are.
            raw_bytes: What they take before they are converted, all at once.

        Raises:
            DataError: If so; nothing has been read by then.
        """
        needed = count * int(np.prod(self.image_shape, dtype=np.int64)) * 4 + raw_bytes
        if needed > physical_memory() // 2:
            raise DataError(
                f"{path} holds {count} images, which take {needed / 2**30:.1f} GiB in memory; "
                f"this machine has {physical_memory() / 2**30:.1f} GiB and at most half may be "
                "used. Take fewer images, or a machine with more memory."
            )


def folder_name(class_name: str) -> str:
    """Return the folder that holds a class: its name, with "_" for "/", in Unicode's NFC form.

    Some systems store a name's accents apart from their letters; NFC joins them.
    """
    return unicodedata.normalize("NFC", class_name).replace("/", "_").strip()


def same_class(class_names: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two class names that stand for one folder; `None` if there are none."""
    first: dict[str, str] = {}
    for name in class_names:
        if (folder := folder_name(name)) in first:
            return first[folder], name
        first[folder] = name
    return None


def _number(name: str) -> int | None:
    """Return the whole number that a class is named after, "007" and "7.0" too, or `None`."""
    found = _WHOLE_NUMBER.fullmatch(name.strip())
    return int(found[1]) if found else None


def describe_shape(channels: int, height: int, width: int) -> str:
    """Say a shape in words, such as "28 pixels wide, 28 high, 1 channel"."""
    return f"{width} pixels wide, {height} high, {channels} channel{'s' * (channels != 1)}"


def resizing_advice(height: int, width: int) -> str:
    """Say what to do about images of another size than a model takes."""
    if height != width:
        return "Resize them before you start."
    return (
        f"Set image-size = {height} in the run config, and images of any size are resized and "
        "cropped; or resize them before you start."
    )


def depth_advice(height: int, width: int) -> str:
    """Say what to do about grey pictures of 16 bits."""
    if height != width:
        return CONVERT_FIRST
    return (
        f"Set image-size = {height} in the run config, and grey of 16 bits is scaled to 8 bits; or "
        "convert the pictures before you start."
    )


def physical_memory() -> int:
    """Return the machine's memory in bytes; where the system does not tell, an exbibyte."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**60


def listing(items: Sequence[str], most: int = 5) -> str:
    """Join items for an error message, and count those beyond the first few."""
    shown = ", ".join(items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
