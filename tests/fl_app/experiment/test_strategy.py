"""The strategy that a run config describes."""

from typing import Any

import pytest
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from safetensors.numpy import load_file
from torch import Tensor, nn

from fl_app.tasks.registry import MODELS
from tests.support.local_run import run_app, summary_of


class Normalised(nn.Module):
    """A small model with buffers, which have no gradient."""

    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(28 * 28)
        self.fc = nn.Linear(28 * 28, 10)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.fc(self.norm(images.flatten(1))), dim=1)


@pytest.fixture
def config(run_config, monkeypatch, no_pictures) -> dict[str, Any]:
    monkeypatch.setitem(MODELS, "normalised", Normalised)
    config: dict[str, Any] = run_config | {"model": "normalised", "tensorboard": False}
    return config


@pytest.mark.parametrize("optimizer", ["adam(lr=0.5)", "yogi(lr=0.5)", "sgd(lr=3.0)"])
def test_no_server_optimizer_makes_a_running_variance_negative(config, optimizer):
    directory = run_app(config | {"server-optimizer": optimizer})

    assert (load_file(directory / "model.safetensors")["norm.running_var"] >= 0).all()
    assert summary_of(directory)["central"]["loss"] is not None


def test_buffers_move_by_plain_addition_whatever_the_optimizer(config):
    one_round = config | {"num-server-rounds": 1}

    plain, adaptive = (
        load_file(run_app(one_round | {"server-optimizer": part}) / "model.safetensors")
        for part in ("sgd", "yogi(lr=0.5)")
    )

    assert (plain["norm.running_var"] == adaptive["norm.running_var"]).all()
    assert (plain["fc.weight"] != adaptive["fc.weight"]).any()
