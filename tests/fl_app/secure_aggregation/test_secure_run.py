"""The whole application under secure aggregation, in this process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS
from safetensors.numpy import load_file

from fl_app.callbacks.early_stopping import FailedRoundsError
from fl_app.experiment.run import RunFailedError
from fl_app.secure_aggregation.fixed_point import secure_range
from fl_app.tasks.registry import MODELS
from scripts.harness.in_process_grid import Fault
from tests.support.linear_model import Linear
from tests.support.local_run import run_app, summary_of

pytestmark = pytest.mark.slow

PLAIN = {"secure-aggregation": False}


@pytest.fixture
def config(run_config, monkeypatch, no_pictures) -> dict[str, Any]:
    monkeypatch.setitem(MODELS, "linear", Linear)
    return {
        **run_config,
        "model": "linear",
        "tensorboard": False,
        "num-participants": 5,
        "partitioner": "linear",  # participants of unequal weight
        "clip-norm": 0.1,  # most deltas are longer
        "secure-aggregation": True,
    }


def model_of(directory: Path) -> dict[str, np.ndarray]:
    return load_file(directory / "model.safetensors")


def digest(directory: Path) -> str:
    weights: str = summary_of(directory)["sha256"]["weights"]
    return weights


def test_the_model_is_that_of_plain_aggregation_within_the_bound(config):
    one_round = config | {"num-server-rounds": 1}
    secure, plain = model_of(run_app(one_round)), model_of(run_app(one_round | PLAIN))

    # The bound is smaller the less equal the counts; these are the worst for 1,437 examples. Both
    # models are rounded to float32 twice: the mean, at most 0.1, and the weights, at most 1.
    counts = [1433, 1, 1, 1, 1]
    bound = secure_range(0.1, counts).error_bound(counts) + 2 * (2**-28 + 2**-25)
    assert secure.keys() == plain.keys()
    for name, weights in plain.items():
        assert np.abs(secure[name].astype(float) - weights).max() <= bound, name
    assert any(np.abs(weights).max() > 0 for weights in plain.values())


def test_a_server_optimizer_and_evaluation_with_training_go_with_it(config):
    parts = {"server-optimizer": "adam(lr=0.01)", "evaluate-with-training": True}
    secure, plain = (summary_of(run_app(config | parts | change)) for change in ({}, PLAIN))

    assert secure["rounds"] == plain["rounds"] == 2
    assert secure["central"]["loss"] == pytest.approx(plain["central"]["loss"], rel=1e-3)
    assert secure["federated"]["loss"] == pytest.approx(plain["federated"]["loss"], rel=1e-3)


def test_a_resumed_run_gives_the_same_bits_as_an_uninterrupted_one(config):
    parts = {"fraction-fit": 0.7, "num-server-rounds": 3}  # three of five
    whole = run_app(config | parts, order=1)
    half = run_app(config | parts | {"num-server-rounds": 1}, order=2)

    resumed = run_app(config | parts | {"resume": str(half)}, order=3)

    assert digest(resumed) == digest(whole)


def failing_in(stage: str, rounds: tuple[str, ...]) -> Fault:
    def fault(message: Message, reply: Any) -> Message | None:
        asked: Any = message.content.config_records.get(RECORD_KEY_CONFIGS) or {}
        if asked.get("stage") == stage and message.metadata.group_id in rounds:
            return Message(Error(3, "no memory"), reply_to=message)
        answer: Message = reply()
        return answer

    return fault


def test_the_run_goes_on_after_rounds_that_too_many_dropped_out_of(config, caplog):
    stages = ("setup", "share_keys", "collect_masked_vectors")
    faults = {i: failing_in(stage, ("1",)) for i, stage in enumerate(stages)}

    summary = summary_of(run_app(config, faults=faults))

    assert summary["rounds"] == 2
    assert summary["failures"] == 5  # all of round 1, and nobody in round 2
    assert "round 1 changes nothing" in caplog.text
    assert "Traceback" not in caplog.text


def test_rounds_that_keep_failing_end_the_run(config):
    faults = {i: failing_in("collect_masked_vectors", ("1", "2", "3")) for i in (0, 1, 2)}

    with pytest.raises(FailedRoundsError, match="3 rounds in a row") as caught:
        run_app(config | {"num-server-rounds": 5}, faults=faults)

    assert "no memory (while training)" in str(caught.value)
    assert "secure aggregation gave no sum" in str(caught.value)
    (directory,) = Path(config["output-dir"]).iterdir()
    assert summary_of(directory)["rounds"] == 3


PRIVATE = {"noise-multiplier": 0.1, "privacy-delta": 1e-2, "clip-norm": 0.5}


@pytest.mark.parametrize("privacy", ["central", "distributed"])
def test_privacy_under_masks_spends_what_it_spends_without(config, privacy):
    parts = config | PRIVATE | {"privacy": privacy}
    secure, plain = (summary_of(run_app(parts | change)) for change in ({}, PLAIN))

    assert secure["rounds"] == 2
    assert secure["failures"] == 0
    assert secure["privacy"]["epsilon"] == pytest.approx(plain["privacy"]["epsilon"])


@pytest.mark.parametrize("privacy", ["central", "distributed"])
def test_the_noise_on_the_model_is_that_of_the_run_config(config, privacy):
    """The model moves by noise of standard deviation z C / 5, and by very little else."""
    parts = config | PRIVATE | {"privacy": privacy, "noise-multiplier": 40.0}
    directory = run_app(parts | {"num-server-rounds": 1})
    still = run_app(parts | {"num-server-rounds": 1, "noise-multiplier": 0.1} | PLAIN)

    moved = [model_of(directory)[name] - w for name, w in model_of(still).items()]
    values = np.concatenate([array.ravel() for array in moved])
    assert values.std() == pytest.approx(40.0 * 0.5 / 5, rel=0.03)


def test_a_dropout_takes_its_share_of_the_noise_with_it_and_the_ledger_knows(config):
    parts = config | PRIVATE | {"privacy": "distributed", "num-server-rounds": 1}
    whole = summary_of(run_app(parts))
    stage = "collect_masked_vectors"

    less = summary_of(run_app(parts, faults={1: failing_in(stage, ("1",))}))

    assert less["failures"] == 1
    # Four of five shares: epsilon is that of the multiplier 0.1 * sqrt(4 / 5).
    expected = summary_of(run_app(parts | {"noise-multiplier": 0.1 * 0.8**0.5}))
    assert whole["privacy"]["epsilon"] < less["privacy"]["epsilon"]
    assert less["privacy"]["epsilon"] == pytest.approx(expected["privacy"]["epsilon"])


def test_a_sum_that_the_server_has_seen_is_paid_for_even_if_it_is_of_no_use(config):
    def other_values(message: Message, reply: Any) -> Message:
        answer: Message = reply()
        asked: Any = message.content.config_records.get(RECORD_KEY_CONFIGS) or {}
        if "ctxts" in asked:  # by now the stage is taken out of it
            record: Any = answer.content.config_records[RECORD_KEY_CONFIGS]
            weight, values = record["masked_params"]
            record["masked_params"] = [weight, values[:-4] + b"\1\2\3\4"]
        return answer

    parts = config | PRIVATE | {"privacy": "distributed", "num-server-rounds": 1}
    with pytest.raises(RunFailedError, match="replied 5, refused 5; 0 valid updates"):
        run_app(parts, faults={2: other_values})

    (directory,) = Path(config["output-dir"]).iterdir()
    summary = summary_of(directory)
    assert summary["failures"] == 5
    assert summary["privacy"]["epsilon"] > 0
