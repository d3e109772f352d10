"""Runs whose disk takes no more: nothing is lost in silence, and none says that it succeeded."""

import json
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Error, Message
from safetensors import safe_open
from safetensors.numpy import load_file

from fl_app.core.errors import UserError
from fl_app.experiment.run import RunFailedError
from fl_app.results.digests import weights_digest
from fl_app.results.metrics_log import decode_rounds
from fl_app.results.saved_model import load_model, model_file, which_model
from tests.support.full_disk import fill_up
from tests.support.local_run import digest, run_app, summary_of


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "no-home"))
    return folder


def only_run(config: dict[str, Any]) -> Path:
    directories: list[Path] = list(Path(config["output-dir"]).iterdir())
    assert len(directories) == 1
    return directories[0]


def rescued_in(temporary: Path) -> list[Path]:
    return list(temporary.glob("delta-fedavg-rescued-*"))


def weights_in(file: Path) -> str:
    return weights_digest([*load_file(file).values()])


def test_a_final_model_that_does_not_fit_is_put_elsewhere_and_the_run_fails(
    config, temporary, monkeypatch
):
    whole = run_app(config | {"output-dir": str(temporary.parent / "whole")})
    results = Path(config["output-dir"])
    fill_up(monkeypatch, [results], lambda path: path.name == "model.safetensors")

    with pytest.raises(RunFailedError) as caught:
        run_app(config)

    directory = only_run(config)
    (folder,) = rescued_in(temporary)
    rescued = folder / "model.safetensors"
    assert str(caught.value) == (
        f"all 2 rounds are done; not written to {directory}: model.safetensors (No space left on "
        f"device); now in {folder}: model.safetensors"
    )
    assert weights_in(rescued) == weights_in(whole / "model.safetensors")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert summary_of(directory)["not_written"] == {"model.safetensors": str(rescued)}
    assert digest(directory) == digest(whole)


def test_where_no_place_is_left_the_run_says_where_it_tried(config, temporary, monkeypatch):
    fill_up(monkeypatch, [Path(config["output-dir"]), temporary])

    with pytest.raises(RunFailedError) as caught:
        run_app(config)

    told = str(caught.value)
    assert f"not written to {only_run(config)}: " in told
    assert f"nowhere on disk (also tried: {temporary}/delta-fedavg-rescued-" in told
    for name in ("model", "best", "checkpoint"):
        assert f"{name}.safetensors" in told.rpartition("nowhere on disk")[2]
    for name in ("metrics.jsonl", "summary.json", "config.json"):
        assert name in told.rpartition("nowhere on disk")[2]
    assert not rescued_in(temporary)  # and leaves nothing half done


def test_every_file_that_a_run_promises_is_rescued(config, temporary, monkeypatch):
    fill_up(monkeypatch, [Path(config["output-dir"])])

    with pytest.raises(RunFailedError):
        run_app(config)

    (folder,) = rescued_in(temporary)
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "metrics.jsonl", "summary.json"),
        *("model.safetensors", "best.safetensors", "checkpoint.safetensors"),
    }
    rounds = decode_rounds((folder / "metrics.jsonl").read_text().splitlines())
    assert [report.server_round for report in rounds] == [0, 1, 2]


def test_what_fits_again_is_written_where_it_belongs(config, temporary, monkeypatch):
    """The disk is full for the first round, and then somebody makes room."""
    full = [True]
    fill_up(monkeypatch, [Path(config["output-dir"])], lambda path: full[0])
    whole = fl_rows(run_with_room_after_round(config, 1, full, monkeypatch))

    assert [row["server_round"] for row in whole if row["kind"] == "round"] == [0, 1, 2]
    assert "not_written" in summary_of(only_run(config))
    assert summary_of(only_run(config))["not_written"] == {}
    assert not rescued_in(temporary)


def run_with_room_after_round(
    config: dict[str, Any], number: int, full: list[bool], monkeypatch: pytest.MonkeyPatch
) -> Path:
    from fl_app.callbacks.progress import ProgressLog

    said = ProgressLog.after_round

    def make_room(self: ProgressLog, report: Any, weights: Any) -> str | None:
        full[0] = report.server_round < number
        return said(self, report, weights)

    monkeypatch.setattr(ProgressLog, "after_round", make_room)
    return run_app(config)


def fl_rows(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def out_of_memory(message: Message, reply: Any) -> Message:
    return Message(Error(3, "no memory"), reply_to=message)


def test_an_error_that_ends_the_run_is_not_hidden_by_the_full_disk(
    config, temporary, monkeypatch, flower_log
):
    fill_up(monkeypatch, [Path(config["output-dir"])])

    with pytest.raises(UserError, match="rounds in a row changed nothing"):
        run_app(config | {"max-failed-rounds": 1}, faults=dict.fromkeys(range(3), out_of_memory))

    assert "not written to" in flower_log.text


def test_an_older_best_model_does_not_stand_in_without_a_word(config, temporary, monkeypatch):
    results = Path(config["output-dir"])
    written: list[str] = []

    def second_and_final(path: Path) -> bool:
        written.append(path.name)
        again = path.name == "best.safetensors" and written.count(path.name) > 1
        return again or path.name == "model.safetensors"

    fill_up(monkeypatch, [results], second_and_final)
    with pytest.raises(RunFailedError):
        run_app(config)

    directory = only_run(config)
    file = model_file(directory)
    told = which_model(file, load_model(file)[1])
    (folder,) = rescued_in(temporary)
    assert told == (
        "the best model, untrained: that of round 0; the best round was 2, whose model is not "
        "here; the final model is not here; the run could not write its best.safetensors here; it "
        f"is {folder / 'best.safetensors'}; the run could not write its model.safetensors here; it "
        f"is {folder / 'model.safetensors'}"
    )
    with safe_open(folder / "best.safetensors", framework="numpy") as rescued:
        assert rescued.metadata()["round"] == "2"


def test_a_picture_that_cannot_be_drawn_loses_nothing_but_itself(config, temporary, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise ValueError("no such colour")

    monkeypatch.setattr("fl_app.plots.training_curves.plot_history", broken)

    with pytest.raises(RunFailedError, match=r"history.png \(ValueError\('no such colour'\)\)"):
        run_app(config | {"model": "simple-cnn", "num-server-rounds": 1})

    names = {path.name for path in only_run(config).iterdir()}
    assert {"model.safetensors", "summary.json", "participants.png"} <= names
    assert not [name for name in names if "partial" in name]


def test_a_resume_is_told_where_the_checkpoint_is_that_did_not_fit(config, temporary, monkeypatch):
    with monkeypatch.context() as patch:
        fill_up(patch, [Path(config["output-dir"])], lambda path: "checkpoint" in path.name)
        with pytest.raises(RunFailedError):
            run_app(config)
    directory, (folder,) = only_run(config), rescued_in(temporary)
    checkpoint = folder / "checkpoint.safetensors"

    with pytest.raises(UserError, match=rf"could not write it; it is {checkpoint}, copy it there"):
        run_app(config | {"resume": str(directory)})

    checkpoint.rename(directory / checkpoint.name)
    run_app(config | {"resume": str(directory), "num-server-rounds": 5})
    assert summary_of(directory)["rounds"] == 5
