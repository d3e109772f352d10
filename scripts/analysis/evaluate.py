"""Evaluate a saved model on a test set: `python -m scripts.analysis.evaluate --help`."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fl_app.core.errors import UserError
from fl_app.results.saved_model import load_task_model, model_file, which_model
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.task import Task, all_metrics
from fl_app.training.local.local_training import Evaluation, evaluate, resolve_device
from scripts.analysis.class_scores import (
    Classes,
    ClassScores,
    class_scores,
    format_table,
    plot_confusion,
)
from scripts.analysis.images.test_set import image_test_set
from scripts.analysis.local_parameters import told_local
from scripts.analysis.test_set import TestSet, task_test_set


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
        prog="evaluate", description="Evaluate a saved model on the whole test set of its task."
    )
    parser.add_argument("model", type=Path, help="a run directory or a .safetensors file")
    parser.add_argument("--best", action="store_true", help="the run's best model, not its final")
    parser.add_argument("--task", metavar="TASK", help="where the task is code of yours: its path")
    parser.add_argument(
        "--architecture", metavar="MODEL", help="where the image model is code of yours: its path"
    )
    on = parser.add_mutually_exclusive_group()
    on.add_argument(
        "--dataset",
        metavar="NAME",
        help="images: as in the run config; default: the one that the model is of",
    )
    on.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="own data, as a participant's; of images a folder with a folder of pictures for each "
        "class, an .npz, or a folder with two IDX files",
    )
    parser.add_argument("--data-dir", type=Path, help="folder that holds the data sets")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write evaluation.json there, and where there are classes confusion.png",
    )
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    file = model_file(options.model.expanduser().absolute(), options.best)
    task, model, metadata = load_task_model(
        file, architecture=options.architecture, task=options.task
    )
    of_images = isinstance(task, ImageClassification)
    if of_images:
        test = image_test_set(options, file, metadata, model)
    else:
        test = task_test_set(options, file, metadata, task)
    result, outputs = evaluated(task, model, test)
    scores = _scores(test, outputs, must_be=of_images)

    trained_on = metadata.get("dataset")
    print(f"model     {file}")
    print(f"is        {which_model(file, metadata)}")
    other = f" (trained on {trained_on})" if trained_on != test.name else ""
    print(f"test set  {test.name}{other}")
    if note := told_local(model):
        print(f"note      {note}")
    print(f"examples  {result.num_examples:,}")
    for name, metric in all_metrics(task).items():
        print(f"{name:<9} {metric.show(result.metrics[name])}")
    if scores is not None:
        print(f"\n{format_table(scores)}")
        if nameless := result.num_examples - int(scores.confusion.sum()):
            print(f"\n{nameless:,} examples were taken for an output that has no class name")
    if options.output:
        what = f"{metadata['model'] if of_images else type(task).__name__} on {test.name}"
        _write(options.output.expanduser().absolute(), result, scores, what)


def evaluated(task: Task, model: nn.Module, test: TestSet) -> tuple[Evaluation, list[Tensor]]:
    """Evaluate a model on a test set, in the project's only evaluation loop.

    Returns:
        Loss and metrics; and, where there are classes, what the model returned, batch by batch.

    Raises:
        UserError: If the model is not for such examples.
    """
    kept: list[Any] = []
    keep = test.classes is not None
    listener = model.register_forward_hook(
        lambda _model, _inputs, out: kept.append(out) if keep else None
    )
    try:
        result = evaluate(task, model, test.examples, resolve_device("auto"))
    except UserError:
        raise
    except Exception as error:  # a user's model or task may raise anything
        raise UserError(
            f"the model does not fit {test.name}: {type(error).__name__}: {error}"
        ) from error
    finally:
        listener.remove()
    return result, kept


def _scores(test: TestSet, kept: Sequence[Any], must_be: bool) -> ClassScores | None:
    """Compare the likeliest classes with the true ones.

    Args:
        test: The test set.
        kept: What the model returned, batch by batch.
        must_be: Whether outputs that do not fit the classes are a mistake; else they are outputs
            of another kind, of which there is no table.
    """
    if test.classes is None:
        return None
    one_a_class = all(isinstance(out, Tensor) and out.ndim == 2 for out in kept)
    outputs = torch.cat([out.cpu() for out in kept]) if one_a_class else torch.empty(0, 0)
    known, named = outputs.shape[1], len(test.classes.names)
    fits = known == named or (known > named and test.classes.outputs_may_exceed)
    if fits and len(outputs) == len(test.classes.labels):
        return _compared(test.classes, outputs)
    if must_be:
        raise UserError(f"the model knows {known} classes, {test.name} has {named}")
    return None


def _compared(classes: Classes, outputs: Tensor) -> ClassScores:
    return class_scores(classes.labels, outputs.argmax(1), classes.names)


def _write(folder: Path, result: Evaluation, scores: ClassScores | None, what: str) -> None:
    content: dict[str, Any] = {
        name: value if math.isfinite(value) else None for name, value in result.metrics.items()
    }
    content["num_examples"] = result.num_examples
    written = ["evaluation.json"]
    if scores is not None:
        content |= {
            "classes": list(scores.names),
            "support": scores.support.tolist(),
            "precision": scores.precision.tolist(),
            "recall": scores.recall.tolist(),
            "f1": scores.f1.tolist(),
            "confusion": scores.confusion.tolist(),
        }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(content, indent=2) + "\n")
        if scores is not None:
            right = int(scores.confusion.trace()) / result.num_examples
            heading = f"{what}: {right:.2%} of {result.num_examples:,} right"
            plot_confusion(scores.confusion, scores.names, folder / "confusion.png", heading)
            written.append("confusion.png")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error
    print(f"\nwritten to {folder}: {', '.join(written)}")


if __name__ == "__main__":
    sys.exit(main())
