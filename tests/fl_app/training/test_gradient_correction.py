"""FedProx, SCAFFOLD, momentum and weight decay against torch's own SGD and autograd."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.model.parameters import get_weights, set_weights
from fl_app.training.local.gradient_correction import LocalCorrection, effective_steps
from fl_app.training.local.local_training import local_update
from fl_app.training.local.sgd import TrainingSettings
from strategies.core.client_update import Arrays
from tests.fl_app.training.softmax_training import TASK

RATE, BATCH, EPOCHS = 0.1, 4, 3
Penalty = Callable[[nn.Module], Tensor]


class Normalised(nn.Module):
    """Has a buffer between its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.fc(self.norm(images.flatten(1))), dim=1)


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Normalised()


@pytest.fixture
def data() -> ImageExamples:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(10, 1, 2, 2, generator=generator)
    return ImageExamples(images, torch.randint(3, (10,), generator=generator))


def trained(
    model: nn.Module, data: ImageExamples, correction: LocalCorrection, **settings: Any
) -> Arrays:
    start = get_weights(model)
    options = TrainingSettings(EPOCHS, BATCH, RATE, **settings)
    generator = torch.Generator().manual_seed(7)
    update = local_update(TASK, model, start, data, options, generator, correction=correction)
    set_weights(model, start)
    return update.weights


def by_torch(
    model: nn.Module, data: ImageExamples, penalty: Penalty | None = None, **settings: Any
) -> Arrays:
    """The same, by torch.optim.SGD on the loss with a penalty."""
    start = get_weights(model)
    optimizer = torch.optim.SGD(model.parameters(), RATE, **settings)
    order = torch.Generator().manual_seed(7)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(data.labels), generator=order), BATCH):
            optimizer.zero_grad()
            loss = F.nll_loss(model(data.images[batch]), data.labels[batch])
            (loss if penalty is None else loss + penalty(model)).backward()
            optimizer.step()
    reached = get_weights(model)
    set_weights(model, start)
    return reached


def assert_close(actual: Arrays, expected: Arrays) -> None:
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-6)


def test_fedprox_is_sgd_on_the_loss_with_half_mu_times_the_squared_distance(model, data):
    start = [p.detach().clone() for p in model.parameters()]

    def distance(now: nn.Module) -> Tensor:
        pairs = zip(now.parameters(), start, strict=True)
        return torch.stack([((p - s) ** 2).sum() for p, s in pairs]).sum()

    corrected = trained(model, data, LocalCorrection(mu=0.7))
    assert_close(corrected, by_torch(model, data, lambda now: 0.35 * distance(now)))
    plain = trained(model, data, LocalCorrection())
    assert any((a != b).any() for a, b in zip(plain, corrected, strict=True))


def test_scaffold_is_sgd_on_the_loss_plus_the_drift_times_the_weights(model, data):
    generator = np.random.default_rng(0)
    drift: Arrays = [
        np.asarray(generator.normal(size=w.shape), np.float32) for w in get_weights(model)
    ]
    names = [name for name, t in model.state_dict().items() if t.is_floating_point()]
    by_name = dict(zip(names, drift, strict=True))

    def along(now: nn.Module) -> Tensor:
        terms = [(p * torch.from_numpy(by_name[n])).sum() for n, p in now.named_parameters()]
        return torch.stack(terms).sum()

    assert_close(trained(model, data, LocalCorrection(drift=drift)), by_torch(model, data, along))


def test_momentum_and_weight_decay_are_torchs(model, data):
    settings: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.1}

    assert_close(
        trained(model, data, LocalCorrection(), **settings), by_torch(model, data, **settings)
    )


def test_plain_sgd_goes_as_far_as_its_steps():
    assert effective_steps(17, 0.1) == 17


@given(st.integers(1, 60), st.floats(0.05, 0.95))
def test_how_far_momentum_goes_in_the_papers_form(steps: int, rho: float):
    expected = (steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho)

    assert effective_steps(steps, 0.1, momentum=rho) == pytest.approx(expected)


@given(st.integers(1, 60), st.floats(0.01, 1.0), st.floats(0.01, 0.9))
def test_how_far_the_proximal_term_goes_in_the_papers_form(steps: int, rate: float, mu: float):
    shrink = rate * mu

    assert effective_steps(steps, rate, mu=mu) == pytest.approx(
        (1 - (1 - shrink) ** steps) / shrink
    )


def test_two_steps_with_momentum_by_hand():
    # v = 1, then 0.5 * 1 + 1 = 1.5: 2.5 in all. With mu * rate = 0.1 too: 1, then
    # 0.5 + 1 - 0.1 * 1 = 1.4: 2.4.
    assert effective_steps(2, 0.1, momentum=0.5) == 2.5
    assert effective_steps(2, 0.1, momentum=0.5, mu=1.0) == pytest.approx(2.4)
