"""Gradients that share their memory, as autograd returns them: nothing is written into them."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.tally import Tally
from fl_app.training.local.gradient_correction import LocalCorrection
from fl_app.training.local.sgd import LocalSgd, TrainingSettings
from tests.fl_app.training.softmax_training import TASK
from tests.fl_app.training.test_gradient_correction import assert_close, by_torch, trained


class Shared(nn.Module):
    """Two biases whose gradient is one tensor, and an offset whose gradient is one number."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3, bias=False)
        self.one = nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))
        self.other = nn.Parameter(torch.tensor([0.3, 0.2, 0.1]))
        self.offset = nn.Parameter(torch.tensor([0.5, -0.5]))

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.fc(images.flatten(1)) + (self.one + self.other)
        return F.log_softmax(outputs, dim=1) + self.offset.sum()


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Shared()


@pytest.fixture
def data() -> ImageExamples:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(10, 1, 2, 2, generator=generator)
    return ImageExamples(images, torch.randint(3, (10,), generator=generator))


def gradients(model: nn.Module, data: ImageExamples) -> tuple[Tensor, ...]:
    loss = F.nll_loss(model(data.images), data.labels)
    return torch.autograd.grad(loss, list(model.parameters()))


def test_autograd_returns_what_may_not_be_written_to(model, data):
    one, other, offset, _ = gradients(model, data)

    assert one.data_ptr() == other.data_ptr()
    assert offset.stride() == (0,)


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "weight_decay": 0.1},
    ],
    ids=str,
)
def test_shared_gradients_are_torchs_sgd(model, data, settings: dict[str, Any]):
    assert_close(
        trained(model, data, LocalCorrection(), **settings), by_torch(model, data, **settings)
    )


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9, "weight_decay": 0.1}], ids=str)
def test_shared_gradients_are_corrected_each_by_its_own(model, data, settings: dict[str, Any]):
    generator = np.random.default_rng(0)
    drift = [np.asarray(generator.normal(size=w.shape), np.float32) for w in get_weights(model)]
    by_name = dict(zip((name for name, _ in model.named_parameters()), drift, strict=True))
    start = [p.detach().clone() for p in model.parameters()]

    def penalty(now: nn.Module) -> Tensor:
        along = [(p * torch.from_numpy(by_name[n])).sum() for n, p in now.named_parameters()]
        pairs = zip(now.parameters(), start, strict=True)
        away = [0.35 * ((p - s) ** 2).sum() for p, s in pairs]
        return torch.stack(along + away).sum()

    names = [name for name, _ in model.state_dict().items()]
    assert names == list(by_name)
    corrected = trained(model, data, LocalCorrection(mu=0.7, drift=drift), **settings)
    assert_close(corrected, by_torch(model, data, penalty, **settings))


def test_no_step_writes_into_the_gradients(model, data, monkeypatch):
    """With everything that changes a gradient on."""
    seen: list[tuple[Tensor, Tensor]] = []
    grad = torch.autograd.grad

    def watched(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = grad(*args, **kwargs)
        seen.extend((tensor, tensor.clone()) for tensor in found)
        return found

    monkeypatch.setattr(torch.autograd, "grad", watched)
    drift = [np.ones(w.shape, np.float32) for w in get_weights(model)]
    settings = TrainingSettings(1, 5, 0.1, momentum=0.9, weight_decay=0.1)
    sgd = LocalSgd(TASK, model, settings, LocalCorrection(0.7, drift).begin(model))

    batches = zip(data.images.split(5), data.labels.split(5), strict=True)
    sgd.train_epoch(batches, Tally())

    assert len(seen) == 2 * 4
    assert all(torch.equal(tensor, copy) for tensor, copy in seen)
