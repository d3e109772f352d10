import pytest

from fl_app.tasks.registry import MODELS, register_model
from tests.fl_app.tasks.normalised_model import Normalised


@pytest.fixture
def normalised(monkeypatch):
    """The toy, registered for one test by the public way."""
    monkeypatch.setattr("fl_app.tasks.registry.MODELS", MODELS.copy())
    register_model("normalised")(Normalised)
    return "normalised"
