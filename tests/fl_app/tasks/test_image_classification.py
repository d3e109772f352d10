import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by

from fl_app.tasks.images.convolution.kernels import compiled_pooling
from fl_app.tasks.images.simple_cnn import SimpleCNN
from fl_app.tasks.registry import build_model
from scripts.harness.reference import TextbookCNN


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
    monkeypatch.setattr("fl_app.tasks.images.convolution.pooled.compiled_pooling", lambda: compiled)
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
