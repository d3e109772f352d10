"""Fixtures that several rooms share."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The machine may be busy: no example is too slow to be right.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Where the real MNIST files are."""
    configured = os.environ.get("DELTA_FEDAVG_DATA_DIR")
    if not configured or not (Path(configured) / "MNIST/raw/train-images-idx3-ubyte").is_file():
        pytest.skip("MNIST is not here: set DELTA_FEDAVG_DATA_DIR to the folder that holds MNIST/")
    return Path(configured)


@pytest.fixture
def run_config(tmp_path: Path) -> dict[str, Any]:
    """The defaults of pyproject.toml, made small: three participants on digits."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        defaults: dict[str, Any] = tomllib.load(file)["tool"]["flwr"]["app"]["config"]
    return defaults | {
        "num-server-rounds": 2,
        "num-participants": 3,
        "local-epochs": 1,
        "dataset": "digits",
        "data-dir": str(tmp_path / "data"),
        "output-dir": str(tmp_path / "results"),
    }
