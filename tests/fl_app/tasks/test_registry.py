import numpy as np
import pytest
import torch
from torch import nn

from fl_app.core.errors import ConfigError
from fl_app.core.seeding import Stream, derive_seed
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import build_model, register_model
from tests.fl_app.tasks.normalised_model import Normalised


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = get_weights(build_model("simple-cnn", 42))
    torch.manual_seed(2)
    second = get_weights(build_model("simple-cnn", 42))
    other = get_weights(build_model("simple-cnn", 43))

    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_building_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)

    torch.manual_seed(5)
    build_model("simple-cnn", 42)

    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_model_is_refused_with_the_models_there_are():
    with pytest.raises(ConfigError, match=r'model = "resnet" is not known.*simple-cnn'):
        build_model("resnet", 0)


def test_a_name_can_be_registered_once(normalised):
    with pytest.raises(ValueError, match="'normalised' is registered already"):
        register_model(normalised)(Normalised)


# Models of one's own

OWN_MODELS = """
import torch
from torch import nn

torch.rand(5)  # moves the global random state

class Net(nn.Module):
    def __init__(self, width=2):
        super().__init__()
        self.fc = nn.Linear(4, width)
    def forward(self, images):
        return images

def sequence(width=2):
    return nn.Sequential(nn.Linear(4, width))

class NoModel:
    def __init__(self):
        raise RuntimeError("was called")
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(OWN_MODELS)
    return path


def test_a_model_of_ones_own_is_built_with_its_options_and_weights_of_the_seed_alone(own):
    state = torch.random.get_rng_state()

    first, again = (get_weights(build_model(f"{own}:Net(width=3)", 7)) for _ in range(2))
    sequence = get_weights(build_model(f"{own}:sequence(width=3)", 7))

    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(Stream.INITIAL_WEIGHTS, 7))
        expected = get_weights(nn.Linear(4, 3))
    for weights in (first, again, sequence):
        assert all(np.array_equal(a, b) for a, b in zip(weights, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Net(depth=3)", "has no option depth; it takes width"),
        ("Net(width='wide')", "model = .*: width = 'wide' must be a number"),
        ("NoModel", "is no model, it lacks forward, state_dict"),
        ("Nets", "cannot be imported: AttributeError"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(own, name, message):
    with pytest.raises(ConfigError, match=message):
        build_model(f"{own}:{name}", 0)
