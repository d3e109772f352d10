import pytest

from fl_app.tasks.registry import MODELS, register_model
from tests.fl_app.tasks.normalised_model import Normalised


@pytest.fixture
def normalised():
    """The toy, registered for one test by the public way."""
    register_model("normalised")(Normalised)
    yield "normalised"
    del MODELS["normalised"]
