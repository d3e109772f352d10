import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.data import tensor_dataset
from fl_app.tasks.model.parameters import get_weights
from fl_app.training.local.local_training import LocalUpdate, evaluate, local_update
from fl_app.training.local.sgd import TrainingSettings
from tests.fl_app.training.softmax_training import (
    TASK,
    Counting,
    Dropping,
    Softmax,
    as_float64,
    bits,
    examples,
    fresh,
    train,
)


def test_delta_is_local_minus_global_weights():
    start = get_weights(fresh())

    update = train(fresh(), examples(10))

    for delta, local, w_t in zip(update.delta, update.weights, start, strict=True):
        np.testing.assert_array_equal(delta, local - w_t)
        assert (delta != 0).any()
    squares = sum(float((d.astype(np.float64) ** 2).sum()) for d in update.delta)
    assert update.norm == pytest.approx(squares**0.5, rel=1e-6)
    assert update.num_examples == 10


def test_the_short_last_batch_is_kept():
    model = fresh(Counting)

    train(model, examples(10), epochs=2, batch=4)

    assert model.batches == [4, 4, 2, 4, 4, 2]


def test_a_batch_larger_than_the_data_is_one_step():
    model = fresh(Counting)

    train(model, examples(3), batch=32)

    assert model.batches == [3]


def test_every_example_is_used_once_per_epoch():
    seen: list[float] = []

    class Watching(Softmax):
        def forward(self, images: Tensor) -> Tensor:
            seen.extend(images[:, 0, 0, 0].tolist())
            return super().forward(images)

    data = examples(10)

    train(fresh(Watching), data, epochs=2, batch=3)

    values = data.images[:, 0, 0, 0].tolist()
    assert sorted(seen[:10]) == sorted(seen[10:]) == sorted(values)
    assert seen[:10] != seen[10:] != values


@pytest.mark.parametrize("kind", [Softmax, Dropping])
def test_the_generators_seed_decides_to_the_bit(kind):
    first = train(fresh(kind), examples(20), seed=1)
    torch.manual_seed(123)  # of no consequence
    again = train(fresh(kind), examples(20), seed=1)
    other = train(fresh(kind), examples(20), seed=2)

    assert bits(again) == bits(first)
    assert bits(other) != bits(first)


@pytest.mark.parametrize("kind", [Softmax, Dropping])
def test_the_global_random_state_is_left_alone(kind):
    torch.manual_seed(5)
    expected = torch.rand(3)

    torch.manual_seed(5)
    train(fresh(kind), examples(20))

    assert torch.equal(torch.rand(3), expected)


def test_dropout_is_on_in_training_and_off_in_evaluation():
    assert bits(train(fresh(Dropping), examples(20))) != bits(train(fresh(), examples(20)))
    dropping, plain = (evaluate(TASK, fresh(kind), examples(20)) for kind in (Dropping, Softmax))
    assert (dropping.loss, dropping.metrics) == (plain.loss, plain.metrics)


def test_training_starts_from_the_weights_given_and_does_not_mutate_them():
    weights = [np.full_like(array, 0.25) for array in get_weights(fresh())]
    for array in weights:
        array.setflags(write=False)  # as they come off the wire
    settings = TrainingSettings(epochs=1, batch_size=5, learning_rate=1e-12)

    update = local_update(TASK, fresh(), weights, examples(5), settings, torch.Generator())

    assert all((array == 0.25).all() for array in weights)
    np.testing.assert_allclose(update.weights[0], 0.25, atol=1e-6)


def test_examples_are_not_mutated():
    data = examples(10)
    images, labels = data.images.clone(), data.labels.clone()

    train(fresh(), data)

    assert torch.equal(data.images, images)
    assert torch.equal(data.labels, labels)


def test_no_examples_are_an_error():
    with pytest.raises(ValueError, match="no examples to train on"):
        train(fresh(), examples(0))
    with pytest.raises(ValueError, match="no examples to evaluate on"):
        evaluate(TASK, fresh(), examples(0))


def test_batches_are_the_same_however_many_are_copied_out_at_a_time(monkeypatch):
    expected = bits(train(fresh(), examples(30), epochs=2))
    monkeypatch.setattr(tensor_dataset, "_BATCHES_PER_COPY", 2)

    assert bits(train(fresh(), examples(30), epochs=2)) == expected


def test_frozen_and_unused_parameters_stay_as_they_are():
    class Partly(Softmax):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(2, 2)
            self.fc.bias.requires_grad_(False)

    model = fresh(Partly)
    bias = model.state_dict()["fc.bias"].clone()

    update = train(model, examples(10))

    assert [bool((delta != 0).any()) for delta in update.delta] == [True, False, False]
    assert torch.equal(model.state_dict()["fc.bias"], bias)


def test_a_model_can_be_trained_after_it_was_evaluated():
    class Convolution(Softmax):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, padding=1)
            self.again = nn.Conv2d(4, 1, 3, padding=1)
            self.kept: Tensor | None = None

        def forward(self, images: Tensor) -> Tensor:
            if self.kept is None:
                self.kept = torch.ones(images.shape[1:])
            return super().forward(self.again(self.conv(images)) * self.kept)

    model, expected = fresh(Convolution), train(fresh(Convolution), examples(10))

    evaluate(TASK, model, examples(30))
    update = train(model, examples(10))

    for delta, other in zip(update.delta, expected.delta, strict=True):
        np.testing.assert_array_equal(delta, other)


def test_outputs_that_no_gradient_leads_from_are_refused_in_words():
    class Cut(Softmax):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).detach()

    with pytest.raises(
        ConfigError, match=r"depends on none of the model's trained parameters.*detach\(\)"
    ):
        train(fresh(Cut), examples(10))


# Evaluation


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_evaluation_is_exact_whatever_the_batching(monkeypatch, batch):
    data, (weight, bias) = examples(100), as_float64(fresh())
    monkeypatch.setattr(TASK, "evaluation_batch_size", batch)
    logits = data.images.flatten(1).double().numpy() @ weight.T + bias
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labels = data.labels.numpy()

    result = evaluate(TASK, fresh(), data)

    assert result.loss == pytest.approx(-log_p[np.arange(100), labels].mean(), abs=1e-7)
    assert result.metrics["accuracy"] == (log_p.argmax(axis=1) == labels).mean()
    assert result.num_examples == 100


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_outputs_of_16_bits_are_not_summed_in_16_bits(kind):
    class Low(Softmax):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).to(kind)

    data, model = examples(500), fresh(Low)
    rows = torch.arange(500)

    expected = -float(model(data.images).detach()[rows, data.labels].double().mean())

    assert evaluate(TASK, model, data).loss == pytest.approx(expected, rel=1e-5)


def test_the_norm_of_a_delta_in_half_precision_is_not_bound_by_it():
    delta = [np.full(1000, 100, np.float16)]

    update = LocalUpdate(delta, delta, 1, {}, 0.0, 1.0)

    assert update.norm == pytest.approx(100 * 1000**0.5)


def test_evaluation_changes_nothing():
    class WithNorm(Softmax):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(self.norm(images))

    model = fresh(WithNorm)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    evaluate(TASK, model, examples(30))

    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("dtype", "value"), [(np.float16, 100.0), (np.float32, 1e30)])
def test_the_norm_of_a_delta_is_finite_where_its_square_is_not(dtype, value):
    delta = [np.full(100, value, dtype)]
    update = LocalUpdate(delta, delta, 1, sums={}, seconds=0.0, effective_steps=1.0)
    assert update.norm == pytest.approx(10 * value)
