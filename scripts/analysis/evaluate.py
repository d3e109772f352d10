"""Evaluate a saved model on a test set: `python -m scripts.analysis.evaluate --help`."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from fl_app.core.errors import UserError
from fl_app.core.paths import resolve_data_dir
from fl_app.core.plugins import OWN_DATA, told_as_config_error
from fl_app.data.datasets import load_dataset
from fl_app.data.local_files.conversion import ConvertedExamples
from fl_app.data.local_files.loader import load_examples
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.results.reader import load_task_model, model_file, which_model
from fl_app.tasks.images.pictures.preprocessing import CONVERSION, preprocessing_of
from fl_app.tasks.task import Task
from fl_app.training.local_training import Evaluation, evaluate, resolve_device
from scripts.analysis.class_scores import ClassScores, class_scores, format_table, plot_confusion
from strategies.registry import is_path


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
    on = parser.add_mutually_exclusive_group()
    on.add_argument(
        "--dataset",
        metavar="NAME",
        help="as in the run config; default: the one that the model is of",
    )
    on.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="own data, as a participant's: a folder with a folder of pictures for each class, an "
        ".npz, or a folder with two IDX files",
    )
    parser.add_argument("--data-dir", type=Path, help="folder that holds the data sets")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write evaluation.json and confusion.png there"
    )
    return parser.parse_args(arguments)


@dataclass(frozen=True, eq=False)
class TestSet:
    """What a model is evaluated on.

    Attributes:
        name: A data set, or the path of somebody's own data.
        examples: As the model was trained on: standardised alike.
        class_names: One per label.
        outputs_may_exceed: Whether a model may have outputs without a name, as with own data.
    """

    name: str
    examples: ImageExamples | ConvertedExamples
    class_names: tuple[str, ...]
    outputs_may_exceed: bool


def _run(options: argparse.Namespace) -> None:
    file = model_file(options.model.expanduser().absolute(), options.best)
    task, model, metadata = load_task_model(file, architecture=options.architecture)
    test = _test_set(options, file, metadata, model)
    result, predicted = evaluate_classes(task, model, test)
    scores = class_scores(test.examples.labels, predicted, test.class_names)

    trained_on = metadata.get("dataset")
    print(f"model     {file}")
    print(f"is        {which_model(file, metadata)}")
    other = f" (trained on {trained_on})" if trained_on != test.name else ""
    print(f"test set  {test.name}{other}")
    print(f"examples  {result.num_examples:,}")
    print(f"accuracy  {result.metrics['accuracy']:.2%}")
    print(f"loss      {result.loss:.4f}\n")
    print(format_table(scores))
    if nameless := int((predicted >= len(test.class_names)).sum()):
        print(f"\n{nameless:,} examples were taken for an output that has no class name")
    if options.output:
        title = f"{metadata['model']} on {test.name}"
        _write(options.output.expanduser().absolute(), result, scores, title)


def _test_set(
    options: argparse.Namespace, file: Path, metadata: Mapping[str, str], model: nn.Module
) -> TestSet:
    if options.data is not None:
        return _own_data(options.data.expanduser().absolute(), file, metadata, model)
    name = options.dataset or _data_set_of(file, metadata)
    if name == OWN_DATA:
        classes = ", ".join(preprocessing_of(file, metadata, model).class_names)
        raise UserError(
            f"{file} is of participants' own data, which is not here. Name data of the same kind "
            f"with --data: a folder with a folder of pictures for each class ({classes}), an .npz, "
            "or a folder with two IDX files"
        )
    data_dir = resolve_data_dir(
        str(options.data_dir.expanduser().absolute()) if options.data_dir else ""
    )
    dataset = load_dataset(name, data_dir)
    examples: ImageExamples | ConvertedExamples = dataset.test
    if CONVERSION in metadata:
        shape = preprocessing_of(file, metadata, model).image_shape
        examples = ConvertedExamples(dataset.test, shape)
    return TestSet(name, examples, dataset.class_names, outputs_may_exceed=False)


def _own_data(path: Path, file: Path, metadata: Mapping[str, str], model: nn.Module) -> TestSet:
    """Read somebody's own data as training read its own."""
    kind = preprocessing_of(file, metadata, model)
    examples = load_examples(path, kind.agreement, kind.mean, kind.std)
    return TestSet(str(path), examples, kind.class_names, outputs_may_exceed=True)


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


def evaluate_classes(task: Task, model: nn.Module, test: TestSet) -> tuple[Evaluation, Tensor]:
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
        result = evaluate(task, model, test.examples, resolve_device("auto"))
    except (RuntimeError, IndexError) as error:
        raise UserError(f"the model does not fit {test.name}: {error}") from error
    finally:
        listener.remove()
    log_probabilities = torch.cat(outputs)
    known, named = log_probabilities.shape[1], len(test.class_names)
    if known < named or (known > named and not test.outputs_may_exceed):
        raise UserError(f"the model knows {known} classes, {test.name} has {named}")
    return result, log_probabilities.argmax(1)


def _write(folder: Path, result: Evaluation, scores: ClassScores, title: str) -> None:
    content = {
        "accuracy": result.metrics["accuracy"],
        "loss": result.loss if math.isfinite(result.loss) else None,
        "num_examples": result.num_examples,
        "classes": list(scores.names),
        "support": scores.support.tolist(),
        "precision": scores.precision.tolist(),
        "recall": scores.recall.tolist(),
        "f1": scores.f1.tolist(),
        "confusion": scores.confusion.tolist(),
    }
    heading = f"{title}: {result.metrics['accuracy']:.2%} of {result.num_examples:,} right"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(content, indent=2) + "\n")
        plot_confusion(scores.confusion, scores.names, folder / "confusion.png", heading)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error
    print(f"\nwritten to {folder}: evaluation.json, confusion.png")


if __name__ == "__main__":
    sys.exit(main())
