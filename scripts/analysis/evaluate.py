"""Evaluate a saved model on a test set: `python -m scripts.analysis.evaluate --help`."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from fl_app.core.errors import UserError
from fl_app.core.paths import resolve_data_dir
from fl_app.core.plugins import told_as_config_error
from fl_app.data.datasets import Dataset, load_dataset
from fl_app.results.reader import load_model, model_file, which_model
from fl_app.training.local_training import Evaluation, evaluate, resolve_device
from strategies.registry import is_path

_INK = "#333333"


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parse(arguments)
    try:
        _run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="evaluate", description="Evaluate a saved model on the whole test set."
    )
    parser.add_argument("model", type=Path, help="a run directory or a .safetensors file")
    parser.add_argument("--best", action="store_true", help="the run's best model, not its final")
    parser.add_argument(
        "--architecture", metavar="MODEL", help="where the model is code of yours: its path"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="as in the run config; default: the one that the model is of",
    )
    parser.add_argument("--data-dir", type=Path, help="folder that holds the data sets")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write evaluation.json and confusion.png there"
    )
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    file = model_file(options.model.expanduser().absolute(), options.best)
    model, metadata = load_model(file, architecture=options.architecture)
    name = options.dataset or _data_set_of(file, metadata)
    data_dir = resolve_data_dir(
        str(options.data_dir.expanduser().absolute()) if options.data_dir else ""
    )
    dataset = load_dataset(name, data_dir)
    result, predicted = evaluate_classes(model, dataset)
    scores = class_scores(dataset.test.labels, predicted, dataset.class_names)

    trained_on = metadata.get("dataset")
    print(f"model     {file}")
    print(f"is        {which_model(file, metadata)}")
    print(f"test set  {name}" + (f" (trained on {trained_on})" if trained_on != name else ""))
    print(f"examples  {result.num_examples:,}")
    print(f"accuracy  {result.accuracy:.2%}")
    print(f"loss      {result.loss:.4f}\n")
    print(format_table(scores))
    if options.output:
        _write(
            options.output.expanduser().absolute(), result, scores, f"{metadata['model']} on {name}"
        )


def _data_set_of(file: Path, metadata: Mapping[str, str]) -> str:
    """Return the data set that a file is of; a file may come from anybody, so it names no code."""
    name = metadata.get("dataset")
    if name is None:
        raise UserError(f"{file} does not say what data set it is of; use --dataset")
    with told_as_config_error():
        if is_path("dataset", name):
            raise UserError(
                f"{file} is of the data set {name!r}, which is code of yours; to run that code, "
                "say so with --dataset"
            )
    return name


def evaluate_classes(model: nn.Module, dataset: Dataset) -> tuple[Evaluation, Tensor]:
    """Evaluate a model on a test set, in the project's only evaluation loop.

    Returns:
        Loss and accuracy; and the predicted classes, int64 [N].

    Raises:
        UserError: If the model is not for such images or so many classes.
    """
    import torch

    outputs: list[Tensor] = []
    listener = model.register_forward_hook(lambda _model, _images, out: outputs.append(out.cpu()))
    try:
        result = evaluate(model, dataset.test, resolve_device("auto"))
    except (RuntimeError, IndexError) as error:
        raise UserError(f"the model does not fit {dataset.name}: {error}") from error
    finally:
        listener.remove()
    log_probabilities = torch.cat(outputs)
    if log_probabilities.shape[1] != len(dataset.class_names):
        raise UserError(
            f"the model knows {log_probabilities.shape[1]} classes, "
            f"{dataset.name} has {len(dataset.class_names)}"
        )
    return result, log_probabilities.argmax(1)


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


def _write(folder: Path, result: Evaluation, scores: ClassScores, title: str) -> None:
    content = {
        "accuracy": result.accuracy,
        "loss": result.loss if math.isfinite(result.loss) else None,
        "num_examples": result.num_examples,
        "classes": list(scores.names),
        "support": scores.support.tolist(),
        "precision": scores.precision.tolist(),
        "recall": scores.recall.tolist(),
        "f1": scores.f1.tolist(),
        "confusion": scores.confusion.tolist(),
    }
    heading = f"{title}: {result.accuracy:.2%} of {result.num_examples:,} right"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(content, indent=2) + "\n")
        plot_confusion(scores.confusion, scores.names, folder / "confusion.png", heading)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error
    print(f"\nwritten to {folder}: evaluation.json, confusion.png")


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


if __name__ == "__main__":
    sys.exit(main())
