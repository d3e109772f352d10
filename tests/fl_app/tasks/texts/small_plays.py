"""Roles of plays made up for tests, in place of those of the package."""

from typing import Any

import pytest

from fl_app.tasks.texts import shakespeare
from fl_app.tasks.texts.plays import Role

ROLES = (
    Role("one/ANNE", 3, "abcdefgh" * 26),  # 208 characters
    Role("one/BOB", 2, "cdefghab" * 13 + "!"),  # 105
    Role("two/ANNE", 5, "efghabcd" * 15),  # 120
    Role("two/Guard", 1, "x" * 500),
    Role("two/Mute", 4, ""),
)


def use_small_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the task find these roles, until the test ends."""
    monkeypatch.setattr(shakespeare, "all_roles", lambda: ROLES)


def run_settings(output_dir: object, **others: Any) -> dict[str, Any]:
    """What to change of the default run config for two short rounds by role."""
    return {
        "task": "shakespeare(roles=3, hidden=16, context=20)",
        "partitioner": "natural",
        "num-participants": 3,
        "num-server-rounds": 2,
        "local-epochs": 2,
        "learning-rate": 3.0,
        "batch-size": 2,
        "output-dir": str(output_dir),
        "tensorboard": False,
        **others,
    }
