"""Participants learn from their own folders of texts."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from fl_app.client_app import app as client_app
from fl_app.core.errors import ConfigError, DataError
from fl_app.data.local_data import LocalData, OwnSource
from fl_app.data.tensor_dataset import TensorExamples
from fl_app.results.reader import load_run
from fl_app.results.saved_model import load_task_model
from fl_app.tasks.texts.own_text import OwnText
from fl_app.tasks.texts.sequences import PADDING
from scripts.harness.in_process_grid import InProcessGrid
from scripts.harness.in_process_run import run_on
from scripts.repository import default_run_config


def source(data: Path, test_data: Path | None = None, share: float = 0.2) -> OwnSource:
    return OwnSource(data, test_data, share, seed=1, participant="me")


def load(data: Path, test_data: Path | None = None, **options: Any) -> LocalData[TensorExamples]:
    return OwnText(**{"context": 4, **options}).load_own_data(source(data, test_data))


def predicted(examples: TensorExamples) -> str:
    targets = examples.targets
    return OwnText()._alphabet.decode(targets[targets != PADDING])


def test_the_last_share_of_each_file_is_held_out(tmp_path):
    (tmp_path / "a.txt").write_text("abcdefghij", encoding="utf-8")
    (tmp_path / "b.md").write_text("ABCDEFGHIJKLMNOPQRST", encoding="utf-8")

    local = load(tmp_path)

    assert predicted(local.train) == "bcdefgh" + "BCDEFGHIJKLMNOP"
    assert predicted(local.test) == "j" + "RST"
    assert local.remarks == ()


def test_texts_of_different_lengths_are_filled_up(tmp_path):
    (tmp_path / "a.txt").write_text("abcdefghij", encoding="utf-8")
    (tmp_path / "b.txt").write_text("xyz", encoding="utf-8")

    train = load(tmp_path).train

    assert train.tensors[0].shape == (3, 4)
    assert int((train.targets != PADDING).sum()) == 7 + 1


def test_test_data_of_its_own_takes_the_place_of_the_hold_out(tmp_path):
    for name, text in (("own", "abcdefghij"), ("test", "klmnop")):
        (tmp_path / name).write_text(text, encoding="utf-8")

    local = load(tmp_path / "own", tmp_path / "test")

    assert predicted(local.train) == "bcdefghij"
    assert predicted(local.test) == "lmnop"


def test_the_same_file_for_both_is_refused(tmp_path):
    (tmp_path / "own").write_text("abcdefghij", encoding="utf-8")

    with pytest.raises(DataError, match="own is both the data and the test data"):
        load(tmp_path / "own", tmp_path / "own")


def test_too_little_to_train_on_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("ab", encoding="utf-8")

    with pytest.raises(DataError, match="too little text to train on: a file needs 2 characters"):
        load(tmp_path)


def test_too_little_to_evaluate_on_is_a_remark(tmp_path):
    (tmp_path / "a.txt").write_text("abcde", encoding="utf-8")

    local = load(tmp_path)

    assert len(local.test) == 0
    assert local.remarks == (f"{tmp_path} has too little text to evaluate on: no test examples",)


def test_the_owner_is_told_of_a_file_that_the_alphabet_does_not_suit(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("Привет, мир", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Hello, world", encoding="utf-8")

    with caplog.at_level(logging.INFO, logger="flwr"):
        local = load(tmp_path)

    (remark,) = local.remarks
    assert remark.startswith(f"{tmp_path / 'a.txt'}: 82% of its characters are not in the alphabet")
    assert remark in caplog.text
    assert load(tmp_path, alphabet="bytes").remarks == ()


def test_an_own_limit_is_kept(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 2000, encoding="utf-8")

    with pytest.raises(DataError, match=r"a\.txt: .* more than 0\.001 million bytes"):
        load(tmp_path, max_megabytes=0.001)


def test_common_data_is_refused():
    with pytest.raises(ConfigError, match="set dataset = 'own'"):
        OwnText().load_data(Path())


@pytest.mark.slow
@pytest.mark.parametrize("options", ["alphabet='latin', cell='gru'", "targets='last'"])
def test_a_run_on_own_texts_learns_and_its_model_continues_a_text(tmp_path, options):
    texts = ("abcdefgh" * 30, "abcdefgh" * 20 + "abc", "abcdefgh" * 10)
    nodes = []
    for number, text in enumerate(texts):
        folder = tmp_path / f"node-{number}"
        folder.mkdir()
        (folder / "text.txt").write_text(text, encoding="utf-8")
        state = str(tmp_path / f"state-{number}")
        nodes.append({"name": f"who-{number}", "data": str(folder), "state-dir": state})
    config = {
        **default_run_config(),
        "task": f"text({options}, hidden=16, context=8, length=9)",
        "dataset": "own",
        "num-participants": 3,
        "num-server-rounds": 2,
        "local-epochs": 2 if "last" in options else 15,
        "learning-rate": 2.0,
        "batch-size": 2,
        "output-dir": str(tmp_path / "results"),
        "tensorboard": False,
    }

    directory = run_on(InProcessGrid(client_app, config, 3, node_configs=nodes), config)

    run = load_run(directory)
    federated = run.rounds[2].federated
    assert federated is not None
    assert federated.metrics["accuracy"] > 0.7
    task, model, _ = load_task_model(directory)
    torch.manual_seed(3)  # greedy: nothing is drawn
    (line,) = task.predict(model, "abcdefghabcdefgh")
    assert line == "abcdefghabcdefgh" + "abcdefgha"
