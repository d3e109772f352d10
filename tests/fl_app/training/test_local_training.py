import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.data.tensor_dataset import Examples
from fl_app.tasks.parameters import Arrays, get_weights, set_weights
from fl_app.tasks.registry import build_model
from fl_app.training import local_training, sgd
from fl_app.training.local_training import LocalUpdate, evaluate, local_update, resolve_device
from fl_app.training.sgd import Precision, TrainingSettings
from tests.support.exact_cnn import ExactCNN


class Softmax(nn.Module):
    """Multinomial regression: its gradient can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.fc(images.flatten(1)), dim=1)


class Counting(Softmax):
    """Counts steps, and the examples in each."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return super().forward(images)


class Dropping(Softmax):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(F.dropout(images, 0.5, self.training))


def examples(n: int, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(
        torch.randn(n, 1, 2, 2, generator=generator), torch.randint(3, (n,), generator=generator)
    )


def fresh(kind: type[nn.Module] = Softmax) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return kind()


def train(
    model: nn.Module,
    data: Examples,
    *,
    epochs: int = 1,
    batch: int = 4,
    rate: float = 0.1,
    seed: int = 7,
    precision: Precision = "float32",
) -> LocalUpdate:
    return local_update(
        model,
        get_weights(model),
        data,
        TrainingSettings(epochs, batch, rate, precision),
        torch.Generator().manual_seed(seed),
    )


def bits(update: LocalUpdate) -> list[bytes]:
    return [array.tobytes() for array in update.weights]


def minus(a: Arrays, b: Arrays) -> Arrays:
    return [x - y for x, y in zip(a, b, strict=True)]


def norm(arrays: Arrays) -> float:
    return float(np.linalg.norm(np.concatenate([array.ravel() for array in arrays])))


def as_float64(model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = get_weights(model)
    return weight.astype(np.float64), bias.astype(np.float64)


def test_delta_is_local_minus_global_weights():
    start = get_weights(fresh())

    update = train(fresh(), examples(10))

    for delta, local, w_t in zip(update.delta, update.weights, start, strict=True):
        np.testing.assert_array_equal(delta, local - w_t)
        assert (delta != 0).any()
    squares = sum(float((d.astype(np.float64) ** 2).sum()) for d in update.delta)
    assert update.norm == pytest.approx(squares**0.5, rel=1e-6)
    assert update.num_examples == 10


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
    assert update.accuracy == (p.argmax(axis=1) == data.labels.numpy()).mean()


@pytest.mark.parametrize("steps", [1, 10])
def test_the_cnn_equals_the_textbook_loop(steps: int):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(32 * steps, 1, 28, 28, generator=generator)
    data = Examples(images, torch.arange(32 * steps) % 10)
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
    assert update.accuracy == right / 11


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
    assert evaluate(fresh(Dropping), examples(20)) == evaluate(fresh(), examples(20))


def test_training_starts_from_the_weights_given_and_does_not_mutate_them():
    weights = [np.full_like(array, 0.25) for array in get_weights(fresh())]
    for array in weights:
        array.setflags(write=False)  # as they come off the wire
    settings = TrainingSettings(epochs=1, batch_size=5, learning_rate=1e-12)

    update = local_update(fresh(), weights, examples(5), settings, torch.Generator())

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
        evaluate(fresh(), examples(0))


def test_batches_are_the_same_however_many_are_copied_out_at_a_time(monkeypatch):
    expected = bits(train(fresh(), examples(30), epochs=2))
    monkeypatch.setattr(sgd, "_BATCHES_PER_COPY", 2)

    assert bits(train(fresh(), examples(30), epochs=2)) == expected


def test_frozen_and_unused_parameters_stay_as_they_are():
    class Partly(Softmax):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(2, 2)
            self.fc.bias.requires_grad_(False)

    update = train(fresh(Partly), examples(10))

    assert [bool((delta != 0).any()) for delta in update.delta] == [True, False, False, False]


# Precision


def test_bfloat16_computes_coarser_and_keeps_float32_weights():
    update = train(fresh(), examples(40), precision="bfloat16")
    exact = train(fresh(), examples(40))

    assert all(array.dtype == np.float32 for array in update.weights)
    assert bits(update) != bits(exact)
    for coarse, fine in zip(update.delta, exact.delta, strict=True):
        np.testing.assert_allclose(coarse, fine, rtol=0, atol=0.02 * np.abs(fine).max())
    assert update.loss == pytest.approx(exact.loss, rel=0.01)


def test_bfloat16_gives_the_same_bits_again():
    runs = [train(fresh(), examples(40), precision="bfloat16") for _ in range(2)]

    assert bits(runs[0]) == bits(runs[1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_model_trains_in_the_precision_asked_for_and_is_evaluated_in_float32(precision):
    seen: list[torch.dtype] = []

    class Watching(Softmax):
        def forward(self, images: Tensor) -> Tensor:
            output = self.fc(images.flatten(1))
            seen.append(output.dtype)
            return F.log_softmax(output, dim=1)

    model = fresh(Watching)
    train(model, examples(4), precision=precision)
    evaluate(model, examples(4))

    assert seen == [getattr(torch, precision), torch.float32]
    assert not torch.is_autocast_enabled("cpu")


# Evaluation


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_evaluation_is_exact_whatever_the_batching(monkeypatch, batch):
    data, (weight, bias) = examples(100), as_float64(fresh())
    monkeypatch.setattr(local_training, "_EVALUATION_BATCH", batch)
    logits = data.images.flatten(1).double().numpy() @ weight.T + bias
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labels = data.labels.numpy()

    result = evaluate(fresh(), data)

    assert result.loss == pytest.approx(-log_p[np.arange(100), labels].mean(), abs=1e-7)
    assert result.accuracy == (log_p.argmax(axis=1) == labels).mean()
    assert result.num_examples == 100


def test_evaluation_changes_nothing():
    class WithNorm(Softmax):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(self.norm(images))

    model = fresh(WithNorm)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    evaluate(model, examples(30))

    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


# Devices


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(Exception, match="no GPU"):
        resolve_device("cuda")
