"""`best.safetensors` is of a round that the run has, whatever a resume cuts off."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from fl_app.experiment.saved_models import SavedModels
from fl_app.results.records import RoundReport
from fl_app.results.run_directory import RunDirectory, Snapshot
from scripts.repository import REPOSITORY
from strategies.core.client_update import Arrays
from tests.support.local_run import run_app, summary_of


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def models_of(directory: RunDirectory) -> SavedModels:
    return SavedModels(directory, lambda weights: {"w": weights[0]}, lambda: {"model": "toy"})


def weights_of(server_round: int) -> Arrays:
    return [np.full(3, server_round, np.float32)]


def go_through(directory: RunDirectory, server_round: int) -> SavedModels:
    models = models_of(directory)
    directory.after_round(RoundReport(server_round, aggregated=True), weights_of(server_round))
    models.keep_best(weights_of(server_round))
    return models


def save_checkpoint(directory: RunDirectory, server_round: int) -> None:
    state = {"state": json.dumps({"server-round": server_round})}
    directory.write_tensors("checkpoint.safetensors", {"w": weights_of(server_round)[0]}, state)


def resume_at(directory: RunDirectory, server_round: int) -> SavedModels:
    """Go back to a round, as a resume from the checkpoint of that round does."""
    left = sum(report.server_round <= server_round for report in directory.reports)
    directory.snapshot = Snapshot(left, weights_of(server_round), {})
    return models_of(directory)


def best_in(directory: RunDirectory) -> tuple[int, float] | None:
    """The round that the best model says it is of, and that its weights are of."""
    path = directory.path / "best.safetensors"
    if not path.exists():
        return None
    with safe_open(path, framework="numpy") as file:
        return int(file.metadata()["round"]), float(file.get_tensor("w")[0])


def test_the_best_before_the_checkpoint_comes_back(directory):
    go_through(directory, 1)
    go_through(directory, 2)
    save_checkpoint(directory, 2)
    go_through(directory, 3)
    go_through(directory, 4)
    assert best_in(directory) == (4, 4.0)

    resume_at(directory, 2).settle_best(2)

    assert best_in(directory) == (2, 2.0)


def test_it_comes_back_also_where_it_is_older_than_the_checkpoint(directory):
    go_through(directory, 1)
    directory.after_round(RoundReport(2, aggregated=True), weights_of(2))  # no better than 1
    save_checkpoint(directory, 2)
    go_through(directory, 3)

    resume_at(directory, 2).settle_best(1)

    assert best_in(directory) == (1, 1.0)


def test_a_checkpoint_of_the_best_round_gives_it_back(directory):
    go_through(directory, 3)

    resume_at(replaced(directory, 2), 2).settle_best(2)

    assert best_in(directory) == (2, 2.0)


def replaced(directory: RunDirectory, server_round: int) -> RunDirectory:
    report = replace(directory.reports[-1], server_round=server_round)
    directory.snapshot = None
    directory.after_round(report, weights_of(server_round))
    return directory


@pytest.mark.parametrize("best_round", [None, 1])
def test_one_that_is_not_of_the_best_round_is_put_aside_aloud(directory, flower_log, best_round):
    go_through(directory, 3)

    resume_at(replaced(directory, 2), 2).settle_best(best_round)

    assert best_in(directory) is None
    aside = load_file(directory.path / "best-before-resume.safetensors")
    assert aside["w"].tolist() == [3, 3, 3]
    assert f"was not of round {best_round}" in flower_log.text


def test_the_right_one_is_left_alone(directory):
    go_through(directory, 1)
    before = (directory.path / "best.safetensors").stat().st_ino

    resume_at(directory, 1).settle_best(1)

    assert (directory.path / "best.safetensors").stat().st_ino == before


def test_nothing_is_kept_that_no_resume_can_need(directory):
    go_through(directory, 1)
    save_checkpoint(directory, 1)
    models = go_through(directory, 2)
    names = {path.name for path in directory.path.iterdir()}
    assert ".best-at-checkpoint.safetensors" in names

    models.tidy()
    assert {path.name for path in directory.path.iterdir()} == names
    save_checkpoint(directory, 2)
    models.tidy()

    names = {path.name for path in directory.path.iterdir()}
    assert names - {".lock"} == {"metrics.jsonl", "checkpoint.safetensors", "best.safetensors"}


def test_a_file_system_without_links_has_it_copied(directory, monkeypatch):
    def no_links(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    test_the_best_before_the_checkpoint_comes_back(directory)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [2, 5])
def test_a_run_killed_after_a_new_best_model_resumes_with_the_right_one(config, tmp_path, rounds):
    """Killed in round 3, whose model is the best so far; the checkpoint is of round 2."""
    config = config | {"model": "simple-cnn", "batch-size": 8, "checkpoint-every": 2}
    expected = run_app(
        config | {"num-server-rounds": rounds, "output-dir": str(tmp_path / "whole")}
    )
    file = tmp_path / "run-config.json"
    file.write_text(json.dumps(config | {"num-server-rounds": 5}))
    killed = subprocess.run(
        [sys.executable, "-m", "tests.support.local_run", str(file), "best", "4"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (directory,) = Path(config["output-dir"]).iterdir()
    with safe_open(directory / "best.safetensors", framework="numpy") as best:
        assert best.metadata()["round"] == "3"

    run_app(config | {"num-server-rounds": rounds, "resume": str(directory)})

    assert summary_of(directory)["best"] == summary_of(expected)["best"]
    ours, theirs = (load_file(d / "best.safetensors") for d in (directory, expected))
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name])
