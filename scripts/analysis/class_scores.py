"""How well each class is recognised: a table, and a picture of the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

_INK = "#333333"


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a test set.

    Attributes:
        labels: The true class of each example, int64 [N].
        names: One per label.
        outputs_may_exceed: Whether a model may have outputs without a name, as with own data.
    """

    labels: Tensor
    names: tuple[str, ...]
    outputs_may_exceed: bool


@dataclass(frozen=True)
class ClassScores:
    """How well each class is recognised; one entry per class, 0 where undefined.

    Attributes:
        names: The classes.
        support: Examples of the class.
        precision: Of those predicted to be of the class, the share that are.
        recall: Of those of the class, the share that were predicted to be.
        f1: Harmonic mean of the two.
        confusion: Examples, [true class, predicted class].
    """

    names: tuple[str, ...]
    support: npt.NDArray[np.int64]
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]


def class_scores(labels: Tensor, predicted: Tensor, names: tuple[str, ...]) -> ClassScores:
    """Compare true and predicted classes (int64 [N] both), class by class."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes = np.arange(len(names))
    truth, answer = labels.numpy(), predicted.numpy()
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, answer, labels=classes, zero_division=0.0
    )
    confusion = confusion_matrix(truth, answer, labels=classes)
    return ClassScores(names, support, precision, recall, f1, confusion)


def format_table(scores: ClassScores) -> str:
    """Return the scores of the classes, and their plain means, as aligned text."""
    width = max(len("class"), *map(len, scores.names))
    lines = [f"{'class':<{width}}  support  precision   recall       F1"]
    columns = (scores.support, scores.precision, scores.recall, scores.f1)
    rows = [*zip(scores.names, *columns, strict=True)]
    means = (scores.precision.mean(), scores.recall.mean(), scores.f1.mean())
    rows.append(("mean", scores.support.sum(), *means))
    for name, support, precision, recall, f1 in rows:
        lines.append(
            f"{name:<{width}}  {support:>7,}  {precision:>9.2%}  {recall:>7.2%}  {f1:>7.2%}"
        )
    return "\n".join(lines)


def plot_confusion(
    counts: npt.NDArray[np.int64], class_names: Sequence[str], path: Path, title: str
) -> None:
    """Draw a confusion matrix: counts in the cells, coloured by their share of the row.

    Args:
        counts: Examples, [true class, predicted class].
        class_names: One per row and column.
        path: PNG file to write; its folder must exist.
        title: Above the picture.

    Raises:
        ValueError: If `counts` is not a square table with one row per class name.
    """
    if counts.shape != (len(class_names), len(class_names)):
        raise ValueError(f"counts {counts.shape} do not fit {len(class_names)} class names")
    side = 2.2 + 0.68 * len(class_names)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            text = f"{count:,}\n{_percent(float(shares[row, column]))}"
            colour = "white" if shares[row, column] > 0.5 else _INK
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    ticks, long = range(len(class_names)), max(map(len, class_names)) > 3
    rotation, alignment = (40, "right") if long else (0, "center")
    axes.set_xticks(ticks, class_names, rotation=rotation, ha=alignment)
    axes.set_yticks(ticks, class_names)
    axes.set_xlabel("predicted class", color=_INK)
    axes.set_ylabel("true class", color=_INK)
    axes.set_title(title, color=_INK, fontsize=13, pad=12)
    bar = figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.savefig(path, dpi=150)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{share:.1%}"
