"""Runs that come to their last round: what they say of themselves is true."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from flwr.app import Error, Message
from torch import nn

from fl_app.callbacks.early_stopping import FailedRoundsError
from fl_app.experiment.run import RunFailedError
from fl_app.results.saved_model import load_model, model_file, which_model
from fl_app.tasks.registry import MODELS
from scripts.harness.in_process_grid import Fault
from tests.support.local_run import digest, metrics, run_app, summary_of
from tests.support.toy_rounds import in_round


def only_run(config: dict[str, Any]) -> Path:
    directories = list(Path(config["output-dir"]).iterdir())
    assert len(directories) == 1
    return directories[0]


def out_of_memory(message: Message, reply: Callable[[], Message]) -> Message:
    return Message(Error(3, "no memory"), reply_to=message)


def huge(message: Message, reply: Callable[[], Message]) -> Message:
    """Send an update that is finite, and overflows when it is added to another."""
    answer = reply()
    if message.metadata.message_type == "train":
        for array in answer.content.array_records["fitres.parameters"].values():
            values = np.frombuffer(array.data[-4:], np.float32)
            array.data = array.data[:-4] + np.full_like(values, 3e38).tobytes()
    return answer


def everybody(fault: Fault) -> dict[int, Fault]:
    return dict.fromkeys(range(3), fault)


@pytest.mark.parametrize("strategy", ["delta-fedavg", "FedAvg"])
def test_a_run_in_which_no_round_changed_the_model_has_failed(config, strategy):
    with pytest.raises(RunFailedError) as caught:
        run_app(config | {"strategy": strategy, "learning-rate": 3e38})

    reason = str(caught.value)
    assert reason.startswith(
        "all 2 rounds are done, but no round changed the model, which is the initial one; in the "
        "last round: asked 3, replied 3, refused 3; "
    )
    assert "values that are not finite" in reason
    directory = only_run(config)
    assert summary_of(directory)["reason"] == reason
    assert summary_of(directory)["unchanged_rounds"] == 2
    file = model_file(directory)
    assert which_model(file, load_model(file)[1]) == ("the final model, untrained: that of round 0")


def test_a_run_in_which_the_only_participant_cannot_train_has_failed(config):
    alone = config | {"num-participants": 1}

    with pytest.raises(RunFailedError, match=r"asked 1, replied 0, .*; 0: no memory"):
        run_app(alone, faults={0: out_of_memory})


def test_rounds_that_changed_nothing_are_counted_where_others_did(config):
    directory = run_app(config, faults=everybody(in_round(2, out_of_memory)))

    assert summary_of(directory)["reason"] == (
        "all 2 rounds are done; 1 of 2 rounds changed nothing: 2"
    )
    assert summary_of(directory)["unchanged_rounds"] == 1
    assert [row["unchanged"] for row in metrics(directory, "round")] == [
        None,
        None,
        "0 valid updates, 1 needed",
    ]
    _, metadata = load_model(directory)
    assert metadata["round"] == "1"


def test_a_refused_aggregate_is_not_taken_for_a_round_without_replies(config):
    """Three of three reply, each update is valid, and what they add up to is not finite."""
    with pytest.raises(FailedRoundsError) as caught:
        run_app(
            config
            | {"max-failed-rounds": 1, "server-optimizer": "sgd(lr=10.0)", "codec": "identity"},
            faults=everybody(huge),
        )

    told = str(caught.value)
    assert "asked 3, replied 3, refused 0; the aggregate overflows" in told
    assert "nobody was asked" not in told
    assert "too few updates" not in told


def no_test_examples(message: Message, reply: Callable[[], Message]) -> Message:
    answer = reply()
    if message.metadata.message_type == "evaluate":
        answer.content.metric_records["evaluateres.num_examples"]["num_examples"] = 0
    return answer


@pytest.mark.parametrize("strategy", ["FedAvg", "FedAdam", "FedMedian", "QFedAvg", "Krum"])
def test_evaluators_without_test_examples_do_not_end_a_run_under_flowers_strategies(
    config, strategy
):
    directory = run_app(config | {"strategy": strategy}, faults=everybody(no_test_examples))

    assert [row["federated"] for row in metrics(directory, "round")] == [None, None, None]
    assert summary_of(directory)["unchanged_rounds"] == 0


def test_evaluators_without_test_examples_have_no_say_beside_others(config):
    whole = metrics(run_app(config | {"strategy": "FedAvg"}), "round")[-1]["federated"]
    some = run_app(config | {"strategy": "FedAvg"}, faults={1: no_test_examples})

    assert metrics(some, "round")[-1]["federated"]["num_examples"] == (whole["num_examples"] - 120)


def claims_no_examples(message: Message, reply: Callable[[], Message]) -> Message:
    answer = reply()
    if message.metadata.message_type == "train":
        answer.content.metric_records["fitres.num_examples"]["num_examples"] = 0
    return answer


def of_another_shape(message: Message, reply: Callable[[], Message]) -> Message:
    answer = reply()
    if message.metadata.message_type == "train":
        record = answer.content.array_records["fitres.parameters"]
        for name in list(record)[1:]:
            del record[name]
    return answer


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (claims_no_examples, "its number of examples is 0, a positive number is needed"),
        (of_another_shape, "its arrays differ in number or shape from the model's"),
    ],
)
def test_flowers_strategies_are_not_given_what_they_would_end_the_run_by(config, fault, reason):
    directory = run_app(config | {"strategy": "FedAvg"}, faults={1: fault})

    failures = {row["participant"]: row["failure"] for row in metrics(directory, "participant")}
    assert failures == {"0": None, "1": reason, "2": None}
    without = run_app(config | {"strategy": "FedAvg"}, faults={1: out_of_memory})
    assert digest(directory) == digest(without)


def test_a_strategy_that_raises_ends_the_round_and_not_the_run(config):
    """Bulyan has enough participants, but in round 1 one of them does not reply."""
    parts = {"strategy": "Bulyan(num_malicious_clients=0)"}
    faults = {i: in_round(1, out_of_memory) for i in (0,)}

    directory = run_app(config | parts, faults=faults)

    first, second = metrics(directory, "round")[1:]
    assert not first["aggregated"]
    assert first["unchanged"].startswith("ValueError: The Bulyan aggregation requires")
    assert second["aggregated"]
    assert json.loads((directory / "summary.json").read_text())["unchanged_rounds"] == 1


class NegativeVariance(nn.Module):
    """Ends in the root of a statistic that Flower's momentum makes negative."""

    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(28 * 28)
        self.fc = nn.Linear(28 * 28, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc(self.norm(images.flatten(1))), dim=1)


def test_a_run_whose_final_loss_is_not_finite_has_failed(config, monkeypatch, flower_log):
    monkeypatch.setitem(MODELS, "normalised", NegativeVariance)
    momentum = "FedAvgM(server_momentum=0.9, server_learning_rate=2.0)"
    diverging = {"model": "normalised", "strategy": momentum, "num-server-rounds": 2}

    with pytest.raises(RunFailedError, match="the loss of the final model is not finite"):
        run_app(config | diverging)

    assert "moves statistics of the data like weights: norm.running_mean" in flower_log.text
    assert "the loss of the final model is not finite" in summary_of(only_run(config))["reason"]


def test_the_summary_is_there_before_the_pictures_are(config, monkeypatch):
    """Drawing takes seconds, and an app that Flower stops has five."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fl_app.experiment.run.write_pictures", stopped)

    with pytest.raises(KeyboardInterrupt):
        run_app(config)

    assert summary_of(only_run(config))["reason"] == "all 2 rounds are done"
