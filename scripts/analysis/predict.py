"""Classify pictures with a saved model: `python -m scripts.analysis.predict --help`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fl_app.core.errors import UserError
from fl_app.results.reader import load_model, model_file, which_model
from fl_app.tasks.images.pictures.prediction import classify
from fl_app.tasks.images.pictures.preprocessing import preprocessing_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 only if every picture was classified."""
    options = _parse(arguments)
    try:
        file = model_file(options.model.expanduser().absolute(), options.best)
        model, metadata = load_model(file, architecture=options.architecture)
        preprocessing = preprocessing_of(file, metadata, model)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    trained_on = metadata.get("dataset", "an unknown data set")
    print(f"model {file}, {which_model(file, metadata)}, trained on {trained_on}")
    failed = False
    for path in options.images:
        try:
            print(classify(path, model.eval(), preprocessing, options.invert))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="predict",
        description="Classify pictures, one object in each. They are treated as the model's file "
        "says that those were that it was trained on.",
    )
    parser.add_argument("model", type=Path, help="a run directory or a .safetensors file")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="a picture")
    parser.add_argument("--best", action="store_true", help="the run's best model, not its final")
    parser.add_argument(
        "--architecture", metavar="MODEL", help="where the model is code of yours: its path"
    )
    parser.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="models of named data sets know white on black, and auto inverts pictures with a "
        "light border for them; other models know pictures as they are, and auto inverts none",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
