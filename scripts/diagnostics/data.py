"""The doctor's check of a participant's own data, with a picture of some of it."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fl_app.core.errors import DataError
from fl_app.data.local_data import LocalData
from fl_app.data.local_files.loader import OwnDataSpec, load_own_data
from fl_app.data.tensor_dataset import ImageExamples
from scripts.diagnostics.report import Finding, fail, ok, warn

_COLUMNS, _MOST_ROWS, _GAP = 10, 40, 1
_INK, _PAPER = "#333333", 0.8


def check_data(spec: OwnDataSpec, thumbnails: Path | None) -> Iterator[Finding]:
    """Load the data as a run would, count it, and draw a few examples of each class.

    Args:
        spec: With mean 0 and std 1.
        thumbnails: PNG file to write, if any.
    """
    try:
        local = load_own_data(spec)
    except DataError as error:
        yield fail("data", str(error))
        return
    shape = "x".join(map(str, local.train.images.shape[1:]))
    held = "held out" if spec.test_data is None else "in the test data"
    yield ok("data", f"{len(local.train)} to train on, {len(local.test)} {held}, {shape} each")
    train, test = count_classes(local, len(spec.class_names))
    rows = zip(spec.class_names, train, test, strict=True)
    yield ok("classes", ", ".join(f"{name} {a}+{b}" for name, a, b in rows))
    for remark in local.remarks:
        yield warn("data", f"{remark}. Is that so?")
    absent = [n for n, count in zip(spec.class_names, train, strict=True) if not count]
    if absent:
        yield warn("classes", f"none to train on of: {', '.join(absent)}. Is that so?")
    pixels = local.train.images
    if float(pixels.max()) - float(pixels.min()) < 0.05:
        yield warn("data", "all pixels are nearly alike. Look at the pictures.")
    if thumbnails is not None:
        try:
            draw_thumbnails(local, spec.class_names, thumbnails)
        except OSError as error:
            yield fail("thumbnails", f"{thumbnails} cannot be written: {error.strerror}.")
        else:
            yield ok("thumbnails", f"{thumbnails}: are these what the classes say?")


def count_classes(local: LocalData[ImageExamples], classes: int) -> tuple[list[int], list[int]]:
    """Count the examples of each class, to train on and to evaluate on."""
    train, test = (
        np.bincount(part.labels.numpy(), minlength=classes) for part in (local.train, local.test)
    )
    return [int(count) for count in train], [int(count) for count in test]


def draw_thumbnails(
    local: LocalData[ImageExamples], class_names: tuple[str, ...], path: Path
) -> None:
    """Draw up to ten training examples of each class, evenly spaced, one row per class.

    Args:
        local: Pixels on the scale 0 to 1; 3 channels are drawn in colour, else the first.
        class_names: One per class; only the first 40 are drawn.
        path: PNG file to write; its folder must exist.

    Raises:
        OSError: If it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = class_names[:_MOST_ROWS]
    mosaic, centres = _mosaic(local, len(names))
    height, width = mosaic.shape[:2]
    inches = 0.55 * len(names)
    figure = Figure(figsize=(2.6 + inches * width / height, inches + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    train, test = count_classes(local, len(class_names))
    rows = enumerate(zip(names, train, test, strict=False))
    labels = [f"{index}  {name}  ({a}+{b})" for index, (name, a, b) in rows]
    # A class name with dollar signs is no formula.
    axes.set_yticks(centres, labels, color=_INK, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title("number, class (training + test examples)", loc="left", fontsize=9, color=_INK)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # drawn as a box, that is all
        figure.savefig(path, dpi=110, format="png")


def _mosaic(
    local: LocalData[ImageExamples], rows: int
) -> tuple[npt.NDArray[np.float32], list[float]]:
    """Return a picture of tiles, [height, width] or [height, width, 3], and the rows' centres."""
    images, labels = local.train.images.numpy(), local.train.labels.numpy()
    tiles = images.transpose(0, 2, 3, 1) if images.shape[1] == 3 else images[:, 0]
    step_y, step_x = tiles.shape[1] + _GAP, tiles.shape[2] + _GAP
    mosaic = np.full((rows * step_y, _COLUMNS * step_x, *tiles.shape[3:]), _PAPER, np.float32)
    for row in range(rows):
        members = np.flatnonzero(labels == row)
        picks = np.linspace(0, len(members) - 1, min(_COLUMNS, len(members))).round().astype(int)
        for column, pick in enumerate(picks):
            top, left = row * step_y, column * step_x
            tile = tiles[members[pick]]
            mosaic[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return mosaic, [row * step_y + (step_y - _GAP - 1) / 2 for row in range(rows)]
