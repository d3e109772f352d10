"""Local optimizers and clipped gradients, against the textbook loop with torch's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.experiment.compatibility import check_compatibility
from fl_app.tasks.model.parameters import get_weights
from fl_app.training.local.gradient_correction import LocalCorrection
from fl_app.training.local.local_training import local_update
from fl_app.training.local.optimizers import LocalOptimizer, adam, adamw, clipped
from fl_app.training.local.sgd import TrainingSettings
from fl_app.training.settings import training_settings
from strategies.core.client_update import Arrays
from tests.fl_app.training.softmax_training import TASK, examples, fresh

EPOCHS, BATCH, RATE, DECAY = 3, 4, 0.05, 0.1
DATA = examples(10)


def textbook(
    make: Callable[[list[nn.Parameter]], Optimizer], clip: float = 0.0, mu: float = 0.0
) -> Arrays:
    model = fresh()
    parameters = list(model.parameters())
    start = [p.detach().clone() for p in parameters]
    optimizer, order = make(parameters), torch.Generator().manual_seed(7)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(10, generator=order), BATCH):
            optimizer.zero_grad()
            loss = F.nll_loss(model(DATA.images[batch]), DATA.labels[batch])
            for parameter, w_t in zip(parameters, start, strict=True):
                loss = loss + mu / 2 * ((parameter - w_t) ** 2).sum()
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
    return get_weights(model)


def ours(optimizer: LocalOptimizer | None, mu: float = 0.0, **settings: Any) -> Arrays:
    model = fresh()
    options = TrainingSettings(EPOCHS, BATCH, RATE, optimizer=optimizer, **settings)
    generator, correction = torch.Generator().manual_seed(7), LocalCorrection(mu)
    return local_update(
        TASK, model, get_weights(model), DATA, options, generator, correction=correction
    ).weights


def assert_close(found: Arrays, expected: Arrays) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_adamw_and_adam_are_torchs() -> None:
    decayed = textbook(lambda p: AdamW(p, RATE, (0.8, 0.9), 1e-6, DECAY))

    def own(parameters: list[torch.Tensor], rate: float, decay: float) -> Optimizer:
        return adamw(parameters, rate, decay, beta1=0.8, beta2=0.9, eps=1e-6)

    assert_close(ours(own, weight_decay=DECAY), decayed)
    assert_close(
        ours(adam, weight_decay=DECAY), textbook(lambda p: Adam(p, RATE, weight_decay=DECAY))
    )


@pytest.mark.parametrize("optimizer", [adam, adamw])
def test_an_eps_that_is_0_in_the_type_of_a_parameter_is_refused(optimizer: Any) -> None:
    parameters = [torch.zeros(2, dtype=torch.float16)]

    with pytest.raises(ConfigError, match="eps = 1e-08, which is 0 in float16"):
        optimizer(parameters, 0.1, 0.0)

    parameters[0].grad = torch.zeros(2, dtype=torch.float16)
    optimizer(parameters, 0.1, 0.0, eps=1e-4).step()
    assert parameters[0].isfinite().all()


def test_the_proximal_term_is_a_part_of_what_adam_is_given() -> None:
    assert_close(ours(adam, mu=0.7), textbook(lambda p: Adam(p, RATE), mu=0.7))


@pytest.mark.parametrize("clip", [0.05, 0.3, 100.0])
def test_clipped_gradients_are_torchs(clip: float) -> None:
    expected = textbook(lambda p: SGD(p, RATE, momentum=0.9), clip)
    assert_close(ours(None, momentum=0.9, gradient_clip=clip), expected)
    assert_close(
        ours(adamw, gradient_clip=clip), textbook(lambda p: AdamW(p, RATE, weight_decay=0.0), clip)
    )


def test_a_short_gradient_is_not_changed_by_a_bit() -> None:
    gradients = [torch.tensor([0.3, -0.4]), None]
    first, second = clipped(gradients, 10.0)
    assert second is None
    assert first is not None
    assert torch.equal(first, torch.tensor([0.3, -0.4]))


def test_an_optimizer_begins_anew_with_each_update() -> None:
    assert [a.tobytes() for a in ours(adamw)] == [a.tobytes() for a in ours(adamw)]


def test_the_run_config_names_the_optimizer(run_config) -> None:
    config = RunConfig.from_run_config(
        run_config | {"local-optimizer": "adamw(beta1=0.5)", "gradient-clip": 2.0}
    )
    settings = training_settings(config, 1)

    assert settings.optimizer is not None
    made = settings.optimizer([torch.zeros(1, requires_grad=True)], 0.1, 0.2)
    assert isinstance(made, AdamW)
    assert made.defaults["betas"] == (0.5, 0.999)
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (0.1, 0.2)
    assert settings.gradient_clip == 2.0
    assert training_settings(RunConfig.from_run_config(run_config), 1).optimizer is None


def test_an_unknown_optimizer_is_refused_with_the_names(run_config) -> None:
    with pytest.raises(ConfigError, match=r"local-optimizer = .* did you mean adamw"):
        RunConfig.from_run_config(run_config | {"local-optimizer": "adamww"})


@pytest.mark.parametrize(
    "changes",
    [
        {"scaffold": True, "local-optimizer": "adamw"},
        {"scaffold": True, "gradient-clip": 1.0},
        {"aggregator": "fednova", "local-optimizer": "adam"},
    ],
)
def test_what_reckons_with_the_steps_of_sgd_takes_no_others(run_config, changes) -> None:
    with pytest.raises(ConfigError, match=r"SGD|gradient-clip"):
        check_compatibility(RunConfig.from_run_config(run_config | changes))
