"""The strategy that a run config describes."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from flwr.app import Error, Message
from safetensors.numpy import load_file
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.experiment.run import RunFailedError
from fl_app.tasks.registry import MODELS
from tests.support.linear_model import Linear
from tests.support.local_run import digest, metrics, run_app, summary_of


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


@pytest.fixture
def sampling(run_config, monkeypatch, no_pictures) -> dict[str, Any]:
    """Two of five participants train in each of three rounds."""
    monkeypatch.setitem(MODELS, "linear", Linear)
    config: dict[str, Any] = run_config | {
        "model": "linear",
        "tensorboard": False,
        "num-participants": 5,
        "fraction-fit": 0.4,
        "fraction-evaluate": 0.4,
        "min-fit-clients": 2,
        "num-server-rounds": 3,
    }
    return config


def with_global_seed(seed: int, config: dict[str, Any]) -> Path:
    random.seed(seed)
    return run_app(config)


def test_a_strategy_of_flowers_gives_the_same_bits_in_every_run(sampling):
    config = sampling | {"strategy": "FedAvg"}

    first, second = (with_global_seed(seed, config) for seed in (1, 2))
    other = with_global_seed(1, config | {"seed": 7})

    assert digest(first) == digest(second) != digest(other)


def test_two_resumes_with_a_strategy_of_flowers_give_the_bits_of_the_whole_run(sampling, tmp_path):
    config = sampling | {"strategy": "FedMedian"}
    whole = with_global_seed(3, config)
    half = with_global_seed(4, config | {"num-server-rounds": 1})
    again = Path(shutil.copytree(half, tmp_path / half.name))

    resumed = [
        with_global_seed(seed, config | {"resume": str(directory)})
        for seed, directory in ((5, half), (6, again))
    ]

    assert {digest(directory) for directory in resumed} == {digest(whole)}


def test_delta_fedavg_with_parentheses_is_delta_fedavg(sampling):
    config = sampling | {"seed": 7, "server-optimizer": "adam", "codec": "float16"}

    plain, bare, optioned = (
        run_app(config | {"strategy": text})
        for text in ("delta-fedavg", "delta-fedavg()", "delta-fedavg(inplace=False)")
    )

    assert digest(plain) == digest(bare) == digest(optioned)


@pytest.mark.parametrize("option", ["seed=3", "min_updates=1", "over_selection=0.5"])
def test_an_option_of_delta_fedavg_that_has_a_key_of_its_own_is_refused(sampling, option):
    with pytest.raises(ConfigError, match="has a run-config key of its own"):
        run_app(sampling | {"strategy": f"delta-fedavg({option})"})


def silent(message: Message, reply: Any) -> Message:
    return Message(Error(3, "away"), reply_to=message) if is_training(message) else reply()


def is_training(message: Message) -> bool:
    return message.metadata.message_type == "train"


@pytest.mark.parametrize("strategy", ["delta-fedavg()", "FedAvg", "own"])
def test_min_fit_clients_and_seed_are_honoured_whatever_the_strategy(sampling, strategy, tmp_path):
    path = tmp_path / "derived.py"
    path.write_text(DERIVED)
    text = f"{path}:Derived" if strategy == "own" else strategy
    config = sampling | {"strategy": text, "min-fit-clients": 4, "max-failed-rounds": 9}

    same = [run_app(config | {"seed": seed}) for seed in (7, 7)]
    with pytest.raises(RunFailedError, match="2 valid updates, 4 needed"):
        run_app(config, faults={0: silent, 1: silent})

    assert digest(same[0]) == digest(same[1])
    assert metrics(same[0], "round")[1]["aggregated"]


DERIVED = """
from strategies import DeltaFedAvg

class Derived(DeltaFedAvg):
    pass
"""


def test_a_class_derived_from_delta_fedavg_samples_by_the_runs_seed(sampling, tmp_path):
    path = tmp_path / "derived.py"
    path.write_text(DERIVED)

    plain, derived = (
        run_app(sampling | {"seed": 7, "strategy": text})
        for text in ("delta-fedavg", f"{path}:Derived")
    )

    assert digest(plain) == digest(derived)
