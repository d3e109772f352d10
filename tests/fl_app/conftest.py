from typing import Any

import pytest

from fl_app.results.run_directory import RunDirectory
from fl_app.tasks.registry import MODELS
from tests.support.linear_model import Linear


@pytest.fixture
def config(run_config, monkeypatch) -> dict[str, Any]:
    """Three participants, two rounds, a small model, and no pictures."""
    monkeypatch.setitem(MODELS, "linear", Linear)
    monkeypatch.setattr(RunDirectory, "write_plot", lambda self, name, draw: None)
    return {**run_config, "model": "linear", "tensorboard": False, "quorum-deadline": 30.0}
