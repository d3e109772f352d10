"""The labels of arrays of images, as positions in the agreed class names."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_app.core.errors import DataError
from fl_app.data.local_files.schema import Agreement, LabelledImages, folder_name, same_class


def labelled_images(
    path: Path, images: npt.NDArray[Any], labels: npt.NDArray[Any], agreement: Agreement
) -> LabelledImages:
    """Turn labels, numbers or names, into positions in the class names.

    Raises:
        DataError: If one is no agreed class, or may mean two.
    """
    if labels.dtype.kind in "iu":
        return _labelled_by_number(path, images, labels, agreement)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    known = agreement.indices_by_name()
    found, inverse = np.unique(labels, return_inverse=True)
    names = [str(name) for name in found]
    for name in names:
        if folder_name(name) not in known:
            raise agreement.unknown_class(name, f"{path}: the label {name!r}")
    positions = np.array([known[folder_name(name)] for name in names], np.int64)[inverse]
    remarks = []
    if twice := same_class(names):
        both = f"the labels {twice[0]!a} and {twice[1]!a}"
        remarks.append(f"{path}: {both} are both read as the class {folder_name(twice[0])!r}")
    return LabelledImages(images, positions, tuple(remarks))


def _labelled_by_number(
    path: Path, images: npt.NDArray[Any], labels: npt.NDArray[Any], agreement: Agreement
) -> LabelledImages:
    known = agreement.indices_by_number()
    if known is None:
        raise DataError(
            f"{path}: its labels are numbers, and so are some of the agreed class names, so that "
            "a label may mean a name or a place in the list. Save the names as labels, as text. "
            f"{agreement.agreed}"
        )
    by_place = all(number == index for number, index in known.items())
    found, inverse = np.unique(labels, return_inverse=True)
    for label in map(int, found):
        if label not in known:
            allowed = f"numbers go from 0 to {len(known) - 1}"
            if not by_place:
                allowed = "as all class names are numbers, a label is the name of its class"
            raise DataError(
                f"{path}: the label {label} is not an agreed class; {allowed}. {agreement.agreed}"
            )
    positions = np.array([known[int(label)] for label in found], np.int64)[inverse]
    remark = f"{path}: all class names are numbers, so each label is read as the name of its class"
    return LabelledImages(images, positions, () if by_place else (remark,))
