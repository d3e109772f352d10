import numpy as np
import pytest
import torch

from fl_app.core.errors import ConfigError
from fl_app.tasks.parameters import get_weights
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
    with pytest.raises(ConfigError, match=r"model = 'resnet' is not registered.*simple-cnn"):
        build_model("resnet", 0)


def test_a_name_can_be_registered_once(normalised):
    with pytest.raises(ValueError, match="'normalised' is registered already"):
        register_model(normalised)(Normalised)
