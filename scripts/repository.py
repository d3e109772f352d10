"""Where the project lies, and the run config as it is by default."""

import tomllib
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]


def default_run_config() -> dict[str, Any]:
    """Return the run config of pyproject.toml, which is the reference experiment."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        config: dict[str, Any] = tomllib.load(file)["tool"]["flwr"]["app"]["config"]
    return config
