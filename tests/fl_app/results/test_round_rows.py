"""The rows of metrics.jsonl that a run directory writes after a round."""

import json
import os
import resource
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_app.results.records import ParticipantReport, RoundReport, Score
from fl_app.results.run_directory import RunDirectory
from tests.fl_app.results.reported_round import NAN, WEIGHTS, round_report
from tests.support.full_disk import FULL, fail


def rows(directory: RunDirectory) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    lines = (directory.path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


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
        round_report(
            central=Score(value, {"accuracy": 0.1}), train_loss=value, participants=diverged
        ),
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
