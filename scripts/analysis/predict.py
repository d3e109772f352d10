"""Predict with a saved model: `python -m scripts.analysis.predict --help`."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fl_app.core.errors import ConfigError, UserError
from fl_app.results.saved_model import load_task_model, model_file, which_model
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.images.pictures.prediction import Invert, classify
from fl_app.tasks.images.pictures.preprocessing import Preprocessing, preprocessing_of
from fl_app.tasks.registry import told_with
from fl_app.tasks.task import Task
from scripts.analysis.local_parameters import told_local

Predict = Callable[[str], Iterator[str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 only if there is a prediction for all."""
    options = _parse(arguments)
    try:
        file = model_file(options.model.expanduser().absolute(), options.best)
        task, model, metadata = load_task_model(
            file, architecture=options.architecture, task=options.task
        )
        model.eval()
        predict: Predict
        if isinstance(task, ImageClassification):
            kind = preprocessing_of(file, metadata, model)
            predict = partial(classified_lines, model, kind, options.invert)
        else:
            _check_options(options, task)
            predict = partial(predicted_lines, task, model)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    trained_on = metadata.get("dataset", "an unknown data set")
    print(f"model {file}, {which_model(file, metadata)}, trained on {trained_on}")
    if note := told_local(model):
        print(note)
    failed = False
    for source in options.sources:
        try:
            for line in predict(source):
                print(line)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="predict",
        description="Predict with a saved model. For images: classify pictures, one object in "
        "each, which are treated as the model's file says that those were that it was trained on. "
        "For other tasks a source is what the task's predict takes: a file, or a text.",
    )
    parser.add_argument("model", type=Path, help="a run directory or a .safetensors file")
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="a picture, a file, a text")
    parser.add_argument("--best", action="store_true", help="the run's best model, not its final")
    parser.add_argument("--task", metavar="TASK", help="where the task is code of yours: its path")
    parser.add_argument(
        "--architecture", metavar="MODEL", help="where the image model is code of yours: its path"
    )
    parser.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="pictures: models of named data sets know white on black, and auto inverts pictures "
        "with a light border for them; other models know pictures as they are, and auto inverts "
        "none",
    )
    return parser.parse_args(arguments)


def _check_options(options: argparse.Namespace, task: Task) -> None:
    """Refuse what a task that is not of images cannot do."""
    name = type(task).__name__
    if options.invert != "auto":
        raise UserError(f"--invert is for pictures, and the task {name} is not of images")
    if type(task).predict is Task.predict:
        raise ConfigError(
            f"the task {name} does not say how to predict; give it a method "
            "predict(model, source) that yields lines"
        )


def classified_lines(
    model: nn.Module, kind: Preprocessing, invert: Invert, source: str
) -> Iterator[str]:
    """Yield the line that `classify` gives of the picture at a path."""
    yield classify(Path(source), model, kind, invert)


def predicted_lines(task: Task, model: nn.Module, source: str) -> Iterator[str]:
    """Yield what a task predicts of a source, without gradients.

    Raises:
        UserError: If it cannot, whatever it raises.
    """
    with told_with("predict", task, on=f" on {source!r}"), torch.no_grad():
        yield from task.predict(model, source)


if __name__ == "__main__":
    sys.exit(main())
