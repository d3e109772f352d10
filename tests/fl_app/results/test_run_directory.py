import errno
import json
import logging
import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from fl_app.core.atomic_io import write_atomically
from fl_app.core.errors import UserError
from fl_app.experiment.run import draw_history
from fl_app.results.records import ParticipantReport, RoundReport, Score
from fl_app.results.run_directory import RunDirectory, config_digest, weights_digest

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(0.5, np.float32)]
NAN = float("nan")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def make(path: Path) -> RunDirectory:
    return RunDirectory(path)


@pytest.fixture
def directory(tmp_path):
    made = make(tmp_path / "results" / "run")
    yield made
    made.close()


@pytest.fixture
def flower_log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    return caplog


def round_report(server_round: int = 1, **changes: Any) -> RoundReport:
    known: dict[str, Any] = {
        "server_round": server_round,
        "aggregated": True,
        "central": Score(0.5, 0.75, 360),
        "participants": (ParticipantReport("0", num_examples=5), ParticipantReport("1", "gone")),
        "fit_seconds": 2.0,
        "evaluate_seconds": 1.0,
    }
    return RoundReport(**known | changes)


def rows(directory: RunDirectory) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    lines = (directory.path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def fail(error: OSError) -> Callable[..., Any]:
    def raising(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    return raising


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


# metrics.jsonl


def test_a_round_gives_a_row_and_one_for_each_participant(directory):
    assert directory.after_round(round_report(1), WEIGHTS) is None

    head, *others = rows(directory)
    assert set(head) == ({f.name for f in fields(RoundReport)} - {"participants"}) | {
        "schema",
        "kind",
        "seconds",
    }
    assert (head["kind"], head["server_round"], head["seconds"]) == ("round", 1, 3.0)
    assert head["central"] == {"loss": 0.5, "accuracy": 0.75, "num_examples": 360}
    assert head["federated"] is None
    assert [row["participant"] for row in others] == ["0", "1"]
    assert [row["failure"] for row in others] == [None, "gone"]
    for row in others:
        assert set(row) == {f.name for f in fields(ParticipantReport)} | {
            "schema",
            "kind",
            "server_round",
        }
        assert (row["kind"], row["server_round"]) == ("participant", 1)


def test_rounds_are_appended_and_kept(directory):
    for server_round in range(3):
        directory.after_round(round_report(server_round), WEIGHTS)

    heads = [row for row in rows(directory) if row["kind"] == "round"]
    assert [row["server_round"] for row in heads] == [0, 1, 2]
    assert [report.server_round for report in directory.reports] == [0, 1, 2]
    assert all(np.array_equal(a, b) for a, b in zip(directory.weights, WEIGHTS, strict=True))


@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
def test_what_is_not_finite_becomes_null(directory, value):
    diverged = (ParticipantReport("0", train_loss=value, update_norm=value),)

    directory.after_round(
        round_report(central=Score(value, 0.1), train_loss=value, participants=diverged),
        WEIGHTS,
    )

    head, participant = rows(directory)
    assert head["central"] == {"loss": None, "accuracy": 0.1, "num_examples": 0}
    assert head["train_loss"] is None
    assert (participant["train_loss"], participant["update_norm"]) == (None, None)


def test_names_of_any_kind_survive(directory):
    odd = 'Zürich "A"\n{}'

    directory.after_round(round_report(participants=(ParticipantReport(odd),)), WEIGHTS)

    assert rows(directory)[1]["participant"] == odd


# Failures to write


@pytest.mark.parametrize("broken", ["open", "os.fsync"])
def test_a_row_that_cannot_be_written_is_logged_and_the_run_goes_on(
    directory, monkeypatch, flower_log, broken
):
    directory.after_round(round_report(0), WEIGHTS)
    before = (directory.path / "metrics.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        if broken == "open":
            patch.setattr(Path, "open", fail(FULL))
        else:
            patch.setattr(os, "fsync", fail(FULL))
        assert directory.after_round(round_report(1), WEIGHTS) is None

    assert (directory.path / "metrics.jsonl").read_bytes() == before
    assert "metrics.jsonl was not written, the run goes on" in flower_log.text
    assert "No space left on device" in flower_log.text
    assert len(directory.reports) == 2  # in memory nothing is lost


def test_a_row_that_fits_only_in_part_is_taken_back(directory):
    """A real limit, not a patched function: the disk takes a part of the row."""
    directory.after_round(round_report(0, participants=()), WEIGHTS)
    path = directory.path / "metrics.jsonl"
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        directory.after_round(round_report(1, participants=()), WEIGHTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert path.read_bytes() == before


def test_a_directory_that_disappears_does_not_end_the_run(directory, flower_log):
    shutil.rmtree(directory.path)

    directory.after_round(round_report(0), WEIGHTS)
    directory.write_json("summary.json", {})
    directory.write_model("model.safetensors", WEIGHTS, ["a", "b"], {})
    directory.write_plot("history.png", partial(draw_history, directory.reports, title="title"))

    for name in ("metrics.jsonl", "summary.json", "model.safetensors", "history.png"):
        assert f"{name} was not written, the run goes on" in flower_log.text


def test_a_path_that_cannot_be_made_is_told_before_anything_is_computed(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")

    with pytest.raises(UserError, match=r"cannot be made: .*; set output-dir"):
        make(in_the_way / "run")


def test_missing_permission_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", fail(PermissionError(errno.EACCES, "Permission denied")))

    with pytest.raises(UserError, match="Permission denied"):
        make(tmp_path / "run")


def test_a_directory_that_is_there_is_not_written_into(tmp_path):
    (tmp_path / "run").mkdir()

    with pytest.raises(UserError, match="cannot be made"):
        make(tmp_path / "run")


# Whole or not at all


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"

    write_atomically(path, b"old")
    write_atomically(path, b"new")

    assert path.read_bytes() == b"new"
    assert files_in(tmp_path) == {"file"}


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        if broken == "fsync":
            patch.setattr(os, "fsync", fail(FULL))
        else:
            patch.setattr(Path, "replace", fail(FULL))
            patch.setattr(os, "replace", fail(FULL))
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, b"new, and longer")

    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == {"file"}


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="large"):
            write_atomically(path, bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == {"file"}


def test_the_new_file_is_on_disk_before_the_old_one_goes(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    seen: list[bytes] = []
    fsync = os.fsync

    def watching(fd: int) -> None:
        seen.append(path.read_bytes())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watching)
    write_atomically(path, b"new")

    assert seen[0] == b"old"


# The other files


def test_json_is_written(directory):
    directory.write_json("config.json", {"b": 1, "a": [True, None]})

    assert json.loads((directory.path / "config.json").read_text()) == {"b": 1, "a": [True, None]}


def test_the_model_is_written_under_its_names_with_metadata(directory):
    transposed = [np.asfortranarray(WEIGHTS[0]), WEIGHTS[1]]

    directory.write_model("model.safetensors", transposed, ["w", "b"], {"model": "toy"})

    path = directory.path / "model.safetensors"
    loaded = load_file(path)
    np.testing.assert_array_equal(loaded["w"], WEIGHTS[0])
    np.testing.assert_array_equal(loaded["b"], WEIGHTS[1])
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"model": "toy"}


def test_names_that_do_not_fit_the_weights_are_an_error(directory):
    with pytest.raises(ValueError, match="argument"):
        directory.write_model("model.safetensors", WEIGHTS, ["w"], {})


@pytest.mark.parametrize("losses", [[], [2.3], [2.3, 0.5, NAN]])
def test_the_history_is_drawn_whatever_came_of_it(directory, losses):
    for server_round, loss in enumerate(losses):
        directory.after_round(round_report(server_round, central=Score(loss, 0.5)), WEIGHTS)

    directory.write_plot("history.png", partial(draw_history, directory.reports, title="title"))

    assert (directory.path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_logged(directory, flower_log):
    directory.write_plot("partition.png", fail(FULL))

    assert "partition.png was not written, the run goes on" in flower_log.text


# Digests


def changed(**changes: Any) -> list[np.ndarray]:
    weights = [array.copy() for array in WEIGHTS]
    weights[0] = np.asarray(changes.get("first", weights[0]))
    return weights


def test_a_digest_is_of_the_numbers_not_of_their_layout():
    assert weights_digest(changed()) == weights_digest(WEIGHTS)
    assert weights_digest(changed(first=np.asfortranarray(WEIGHTS[0]))) == weights_digest(WEIGHTS)
    assert len(weights_digest(WEIGHTS)) == 64


@pytest.mark.parametrize(
    "other",
    [
        changed(first=np.nextafter(WEIGHTS[0], np.float32(9))),
        changed(first=WEIGHTS[0].reshape(3, 2)),
        changed(first=WEIGHTS[0].astype(np.float64)),
        changed(first=WEIGHTS[0].view(np.int32)),
        changed(first=-WEIGHTS[0]),
        WEIGHTS[:1],
        WEIGHTS[::-1],
        [],
    ],
)
def test_any_difference_changes_the_digest(other):
    assert weights_digest(other) != weights_digest(WEIGHTS)


def test_a_config_digest_is_of_the_settings_not_of_their_order():
    assert config_digest({"a": 1, "b": 2}) == config_digest({"b": 2, "a": 1})
    assert config_digest({"a": 1, "b": 2}) != config_digest({"a": 1, "b": 3})
    assert config_digest({"a": 1}) != config_digest({"a": 1.0})
