"""What a saved image model is evaluated on: a named data set, or somebody's own pictures."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from fl_app.core.errors import UserError
from fl_app.core.paths import resolve_data_dir
from fl_app.core.plugins import OWN_DATA, told_as_config_error
from fl_app.data.datasets import load_dataset
from fl_app.data.local_files.conversion import ConvertedExamples
from fl_app.data.local_files.loader import load_examples
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.images.pictures.preprocessing import CONVERSION, preprocessing_of
from scripts.analysis.class_scores import Classes
from scripts.analysis.test_set import TestSet
from strategies.registry import is_path


def image_test_set(
    options: argparse.Namespace, file: Path, metadata: Mapping[str, str], model: nn.Module
) -> TestSet:
    """Load the images that a model is evaluated on.

    Args:
        options: Of the command: `data`, `dataset` and `data_dir`.
        file: Where the model is from.
        metadata: The file's own.
        model: The model.

    Raises:
        UserError: If there are none, or they are not of the kind that the model is for.
    """
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
    classes_of = Classes(dataset.test.labels, dataset.class_names, outputs_may_exceed=False)
    return TestSet(name, examples, classes_of)


def _own_data(path: Path, file: Path, metadata: Mapping[str, str], model: nn.Module) -> TestSet:
    """Read somebody's own data as training read its own."""
    kind = preprocessing_of(file, metadata, model)
    examples = load_examples(path, kind.agreement, kind.mean, kind.std)
    classes = Classes(examples.labels, kind.class_names, outputs_may_exceed=True)
    return TestSet(str(path), examples, classes)


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
