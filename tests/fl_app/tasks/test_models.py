import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import nn

from fl_app.core.errors import ConfigError
from fl_app.core.seeding import Stream, derive_seed
from fl_app.tasks.image_classification import SimpleCNN
from fl_app.tasks.parameters import get_weights, set_weights, travelling_names
from fl_app.tasks.pooled_convolution_kernels import compiled_pooling
from fl_app.tasks.registry import MODELS, build_model, register_model
from scripts.harness.reference import TextbookCNN

NAMES = [
    f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")
]


class Normalised(nn.Module):
    """A toy with every kind of buffer: running mean and variance, and a count of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.fc = nn.Linear(16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc(self.norm(images).flatten(1)), dim=1)


@pytest.fixture
def normalised():
    """The toy, registered for one test by the public way."""
    register_model("normalised")(Normalised)
    yield "normalised"
    del MODELS["normalised"]


def images(n: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def test_simple_cnn_has_the_references_parameters():
    model = SimpleCNN()

    assert sum(p.numel() for p in model.parameters()) == 431_080
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "conv1.weight": (20, 1, 5, 5),
        "conv1.bias": (20,),
        "conv2.weight": (50, 20, 5, 5),
        "conv2.bias": (50,),
        "fc1.weight": (500, 800),
        "fc1.bias": (500,),
        "fc2.weight": (10, 500),
        "fc2.bias": (10,),
    }


def test_outputs_are_log_probabilities():
    output = build_model("simple-cnn", 0)(images()).double()

    assert output.shape == (7, 10)
    assert (output <= 0).all()
    torch.testing.assert_close(
        output.exp().sum(dim=1), torch.ones(7, dtype=torch.float64), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("compiled", [None, compiled_pooling()], ids=["torch", "compiled"])
@pytest.mark.parametrize("seed", range(3))
def test_pooling_before_relu_is_the_textbook_order(monkeypatch, compiled, seed):
    monkeypatch.setattr("fl_app.tasks.pooled_convolution.compiled_pooling", lambda: compiled)
    model = build_model("simple-cnn", seed)
    textbook = TextbookCNN.with_weights_of(model)
    x, targets = images(9, seed), torch.arange(9) % 10
    gradients = []
    outputs = []
    for network in (model, textbook):
        network.to(memory_format=torch.channels_last)  # as in training
        output = network(x)
        F.nll_loss(output, targets).backward()
        outputs.append(output.detach())
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])

    assert torch.equal(*outputs)
    assert len(gradients[0]) == 8
    for ours, theirs in zip(*gradients, strict=True):
        if compiled is None:
            assert torch.equal(ours, theirs)
        # The sums are taken in another order.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


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
        ("Net(width='wide')", "model = .*: "),
        ("NoModel", "is no model, it lacks forward, state_dict"),
        ("Nets", "cannot be imported: AttributeError"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(own, name, message):
    with pytest.raises(ConfigError, match=message):
        build_model(f"{own}:{name}", 0)


# What travels


def test_weights_travel_in_state_dict_order_as_float32():
    model = SimpleCNN()

    weights = get_weights(model)

    assert travelling_names(model) == NAMES == list(model.state_dict())
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

    assert travelling_names(source) == [
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


def test_weights_of_another_model_are_refused():
    model = build_model("simple-cnn", 1)
    weights = get_weights(model)

    with pytest.raises(ValueError, match="8 arrays, 7 were given"):
        set_weights(model, weights[:-1])
    with pytest.raises(ValueError, match=r"fc2.bias has shape \(10,\), an array of \(10, 1\)"):
        set_weights(model, [*weights[:-1], weights[-1][:, None]])
