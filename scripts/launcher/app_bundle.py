"""A copy of just the app's files, for Flower to bundle."""

import shutil
import tomllib
from pathlib import Path

_ALWAYS = ("pyproject.toml", ".gitignore")


def stage_app(app: Path, target: Path) -> Path:
    """Copy what the app's `fab-include` names, and return where it can be bundled from.

    Flower looks at every file below the app's folder before it applies the patterns. With a
    virtual environment in there that takes seconds.

    Args:
        app: Folder of the app.
        target: Folder to make for the copy.

    Returns:
        `target`, or `app` itself if it has no `fab-include`.
    """
    config = tomllib.loads((app / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = config["tool"]["flwr"]["app"].get("fab-include")
    if not patterns:
        return app
    for pattern in [*_ALWAYS, *patterns]:
        for source in app.glob(pattern):
            if source.is_file():
                copy = target / source.relative_to(app)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
    return target
