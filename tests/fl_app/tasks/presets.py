"""The presets that come with the project, as run configs."""

import tomllib
from typing import Any

from scripts.repository import REPOSITORY


def preset(name: str) -> dict[str, Any]:
    """Return what a preset sets."""
    file = REPOSITORY / "scripts" / "presets" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))
