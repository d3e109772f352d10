"""Batch norm statistics that stay with each participant: not sent, remembered, and used."""

from pathlib import Path
from typing import Any

import pytest

from fl_app.core.run_config import RunConfig
from fl_app.experiment.effects import central_score_of_local_parameters
from fl_app.results.saved_model import load_model
from fl_app.tasks.client_data import local_data
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.model.federated_model import keep_local
from fl_app.tasks.model.parameters import load_local
from fl_app.tasks.registry import MODELS, initial_model
from fl_app.training.client_state import ClientStateStore
from fl_app.training.local.local_training import evaluate
from tests.fl_app.tasks.normalised_model import Normalised
from tests.support.local_run import metrics, run_app

LOCAL = "*running_mean, *running_var"


class NormalisedDigits(Normalised):
    """A batch norm of the pixels, then softmax regression."""

    def __init__(self) -> None:
        from torch import nn

        super().__init__()
        self.fc = nn.Linear(28 * 28, 10)


@pytest.fixture
def config(run_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, no_pictures: None) -> Any:
    monkeypatch.setitem(MODELS, "normalised", NormalisedDigits)
    changes = {"model": "normalised", "tensorboard": False, "evaluate-with-training": False}
    return run_config | changes | {"partitioner": "shards", "shards-per-participant": 1}


def last(run: Path) -> dict[str, Any]:
    return metrics(run, "round")[-1]


def test_statistics_are_not_sent_are_remembered_and_evaluated_with(config: dict[str, Any]) -> None:
    plain, run = run_app(config), run_app(config | {"local-parameters": LOCAL})

    sent, less = (metrics(r, "participant")[-1]["bytes_up"] for r in (plain, run))
    assert 0 < sent - less < 400  # two arrays of one number, with their headers
    parsed, task = RunConfig.from_run_config(config), ImageClassification("normalised", "digits")
    loss, naive, examples = 0.0, 0.0, 0
    for who in range(3):
        model, _ = load_model(run)
        keep_local(model, ("norm.running_mean", "norm.running_var"))
        test = local_data({"partition-id": who, "num-partitions": 3}, parsed, "digits").test
        naive += evaluate(task, model, test).loss * len(test)
        state = ClientStateStore(run / "participants" / str(who)).load(2)
        assert state is not None
        assert state.local is not None
        assert len(state.local) == 2
        load_local(model, state.local)
        loss += evaluate(task, model, test).loss * len(test)
        examples += len(test)
    told = last(run)["federated"]
    assert told["loss"] == pytest.approx(loss / examples, rel=1e-6)
    assert told["loss"] != pytest.approx(naive / examples, rel=1e-3)


def test_a_run_that_goes_on_remembers_them(config: dict[str, Any], tmp_path: Path) -> None:
    config = config | {"local-parameters": LOCAL}
    whole = run_app(config | {"output-dir": str(tmp_path / "whole")})
    part = run_app(config | {"num-server-rounds": 1, "output-dir": str(tmp_path / "part")})
    resumed = run_app(config | {"output-dir": str(tmp_path / "part"), "resume": str(part)})

    assert last(resumed)["federated"] == last(whole)["federated"]
    assert last(resumed)["central"] == last(whole)["central"]


def test_the_server_evaluates_with_the_initial_ones_and_says_so(
    config: dict[str, Any], flower_log: pytest.LogCaptureFixture
) -> None:
    run = run_app(config | {"local-parameters": LOCAL})

    model, _ = load_model(run)
    fresh = initial_model(ImageClassification("normalised", "digits"), config["seed"])
    for name in ("norm.running_mean", "norm.running_var"):
        assert (model.state_dict()[name] == fresh.state_dict()[name]).all()
    assert "2 tensors stay with the participants, such as norm.running_mean" in flower_log.text


@pytest.mark.parametrize(
    ("monitor", "has_test", "local", "told"),
    [
        ("auto", True, True, True),
        ("central", True, True, True),
        ("auto", False, True, False),
        ("federated", True, True, False),
        ("auto", True, False, False),
    ],
)
def test_it_is_said_only_where_the_servers_score_decides(
    config: dict[str, Any], monitor: str, has_test: bool, local: bool, told: bool
) -> None:
    model = NormalisedDigits()
    if local:
        keep_local(model, ("norm.running_mean",))
    parsed = RunConfig.from_run_config(config | {"monitor": monitor})

    lines = central_score_of_local_parameters(parsed, model, has_test)
    assert bool(lines) == told
    assert not lines or "monitor = 'federated'" in lines[0]
