"""What of a model travels."""

import numpy as np
import pytest
import torch
from torch import nn

from fl_app.tasks.images.simple_cnn import SimpleCNN
from fl_app.tasks.model.federated_model import model_spec
from fl_app.tasks.model.parameters import get_weights, set_weights, state_arrays
from fl_app.tasks.registry import build_model

NAMES = [
    f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")
]


def test_weights_travel_in_state_dict_order_as_float32():
    model = SimpleCNN()

    weights = get_weights(model)

    assert model_spec(model).names == NAMES == list(model.state_dict())
    assert all(w.dtype == np.float32 and w.flags.c_contiguous for w in weights)


def test_set_weights_undoes_get_weights():
    source, target = build_model("simple-cnn", 1), build_model("simple-cnn", 2)

    set_weights(target, get_weights(source))

    assert all(
        torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True)
    )


def test_weights_are_copies_both_ways():
    model = build_model("simple-cnn", 1)
    weights = get_weights(model)

    weights[0][...] = 7
    assert not (get_weights(model)[0] == 7).any()
    set_weights(model, weights)
    weights[0][...] = 8
    assert (get_weights(model)[0] == 7).all()


def test_read_only_weights_can_be_set():
    model = build_model("simple-cnn", 1)
    weights = get_weights(model)
    for array in weights:
        array.setflags(write=False)

    set_weights(model, weights)


def test_channels_last_does_not_change_what_travels():
    model = build_model("simple-cnn", 1)
    before = get_weights(model)
    model.to(memory_format=torch.channels_last)

    after = get_weights(model)

    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(w.flags.c_contiguous for w in after)


def test_float_buffers_travel_and_counts_stay(normalised):
    source, target = build_model(normalised, 1), build_model(normalised, 2)
    source.train()
    for _ in range(3):
        source(5 + torch.randn(8, 1, 4, 4))

    set_weights(target, get_weights(source))

    assert model_spec(source).names == [
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "fc.weight",
        "fc.bias",
    ]
    state = target.state_dict()
    assert float(state["norm.running_mean"]) > 1
    assert torch.equal(state["norm.running_var"], source.state_dict()["norm.running_var"])
    assert int(source.state_dict()["norm.num_batches_tracked"]) == 3
    assert int(state["norm.num_batches_tracked"]) == 0


def test_zero_dimensional_tensors_travel():
    model = nn.Module()
    model.scale = nn.Parameter(torch.tensor(2.0))

    (weight,) = get_weights(model)
    set_weights(model, [np.array(3.0, np.float32)])

    assert weight.shape == ()
    assert model.state_dict()["scale"] == 3.0


def test_weights_that_do_not_fit_the_state_dict_are_an_error():
    model = build_model("simple-cnn", 1)

    with pytest.raises(ValueError, match="argument"):
        state_arrays(model, get_weights(model)[:-1])


def test_weights_of_another_model_are_refused():
    model = build_model("simple-cnn", 1)
    weights = get_weights(model)

    with pytest.raises(ValueError, match="8 arrays, 7 were given"):
        set_weights(model, weights[:-1])
    with pytest.raises(ValueError, match=r"fc2.bias has shape \(10,\), an array of \(10, 1\)"):
        set_weights(model, [*weights[:-1], weights[-1][:, None]])
