"""Local training equals the textbook's loop, written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by

from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.model.parameters import get_weights, set_weights
from fl_app.tasks.registry import build_model
from tests.fl_app.training.softmax_training import (
    Softmax,
    accuracy_of,
    as_float64,
    examples,
    fresh,
    minus,
    norm,
    train,
)
from tests.support.exact_cnn import ExactCNN


def test_one_step_by_hand():
    """For softmax regression, grad W = mean((p - onehot) x^T) and grad b = mean(p - onehot)."""
    data, rate = examples(6), 0.1
    weight, bias = as_float64(fresh())
    x = data.images.flatten(1).double().numpy()
    logits = x @ weight.T + bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    onehot = np.eye(3)[data.labels.numpy()]
    loss = -np.log((p * onehot).sum(axis=1)).mean()

    update = train(fresh(), data, batch=6, rate=rate)

    weight_delta, bias_delta = update.delta
    np.testing.assert_allclose(weight_delta, -rate * (p - onehot).T @ x / 6, rtol=0, atol=1e-7)
    np.testing.assert_allclose(bias_delta, -rate * (p - onehot).mean(axis=0), rtol=0, atol=1e-7)
    assert update.loss == pytest.approx(loss, abs=1e-6)
    assert accuracy_of(update) == (p.argmax(axis=1) == data.labels.numpy()).mean()


@pytest.mark.parametrize("steps", [1, 10])
def test_the_cnn_equals_the_textbook_loop(steps: int):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(32 * steps, 1, 28, 28, generator=generator)
    data = ImageExamples(images, torch.arange(32 * steps) % 10)
    exact = build_model("simple-cnn", 0).double()
    start = get_weights(exact)
    order = torch.randperm(32 * steps, generator=torch.Generator().manual_seed(7))
    for batch in torch.split(order, 32):
        exact.zero_grad()
        F.nll_loss(exact(images[batch].double()), data.labels[batch]).backward()
        with torch.no_grad():
            for parameter in exact.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.01 * parameter.grad)
    expected = minus(get_weights(exact), start)
    ours = ExactCNN()
    set_weights(ours, start)

    update = train(ours, data, batch=32, rate=0.01)

    # Weights are below 1/2, where a rounding is at most 3e-17; the rest is amplification.
    for delta, in_float64 in zip(update.delta, expected, strict=True):
        np.testing.assert_allclose(delta, in_float64, rtol=0, atol=1e-13)
    # In float32 a branch may fall the other way, which moves a few weights by as much as
    # one example does; the update as a whole stays where it is.
    rounded = train(build_model("simple-cnn", 0), data, batch=32, rate=0.01)
    assert norm(minus(rounded.delta, expected)) < 0.005 * norm(expected)


def test_several_epochs_equal_a_naive_loop():
    """Written out plainly, in float64, with the same order of examples."""
    data, (weight, bias) = examples(11), as_float64(fresh())
    model = Softmax().double()
    set_weights(model, [weight, bias])
    generator = torch.Generator().manual_seed(7)
    losses: list[float] = []
    right = 0
    for _ in range(3):
        losses, right = [], 0
        for batch in torch.split(torch.randperm(11, generator=generator), 4):
            output = model(data.images[batch].double())
            model.zero_grad()
            F.nll_loss(output, data.labels[batch]).backward()
            losses += F.nll_loss(output.detach(), data.labels[batch], reduction="none").tolist()
            right += int((output.argmax(1) == data.labels[batch]).sum())
            with torch.no_grad():
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(0.1 * parameter.grad)

    update = train(fresh(), data, epochs=3)

    for actual, expected in zip(update.weights, get_weights(model), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
    assert update.loss == pytest.approx(sum(losses) / 11, abs=1e-6)  # of the last epoch
    assert accuracy_of(update) == right / 11
