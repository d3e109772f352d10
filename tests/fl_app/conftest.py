from typing import Any

import pytest

from fl_app.tasks.registry import MODELS
from tests.support.linear_model import Linear


@pytest.fixture
def config(run_config, monkeypatch, no_pictures) -> dict[str, Any]:
    """Three participants, two rounds, a small model, and no pictures."""
    monkeypatch.setitem(MODELS, "linear", Linear)
    return {**run_config, "model": "linear", "tensorboard": False, "quorum-deadline": 30.0}
