import errno
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from fl_app.core.errors import UserError
from fl_app.core.metrics import ACCURACY
from fl_app.plots.run_pictures import draw_history
from fl_app.results.digests import config_digest, weights_digest
from fl_app.results.records import Score
from fl_app.results.run_directory import RunDirectory
from tests.fl_app.results.reported_round import NAN, WEIGHTS, round_report
from tests.support.full_disk import FULL, fail

METRICS = {"accuracy": ACCURACY}


def make(path: Path) -> RunDirectory:
    return RunDirectory(path)


# Failures to write


def test_a_directory_that_disappears_does_not_end_the_run(directory, flower_log):
    shutil.rmtree(directory.path)

    directory.after_round(round_report(0), WEIGHTS)
    directory.write_json("summary.json", {})
    directory.write_tensors("model.safetensors", dict(zip("ab", WEIGHTS, strict=True)), {})
    directory.write_plot(
        "history.png",
        partial(draw_history, directory.reports, metrics={"accuracy": ACCURACY}, title="title"),
    )

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


# The other files


def test_json_is_written(directory):
    directory.write_json("config.json", {"b": 1, "a": [True, None]})

    assert json.loads((directory.path / "config.json").read_text()) == {"b": 1, "a": [True, None]}


def test_the_model_is_written_under_its_names_with_metadata(directory):
    transposed = [np.asfortranarray(WEIGHTS[0]), WEIGHTS[1]]

    tensors = dict(zip("wb", transposed, strict=True))
    directory.write_tensors("model.safetensors", tensors, {"model": "toy"})

    path = directory.path / "model.safetensors"
    loaded = load_file(path)
    np.testing.assert_array_equal(loaded["w"], WEIGHTS[0])
    np.testing.assert_array_equal(loaded["b"], WEIGHTS[1])
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"model": "toy"}


@pytest.mark.parametrize("losses", [[], [2.3], [2.3, 0.5, NAN]])
def test_the_history_is_drawn_whatever_came_of_it(directory, losses):
    for server_round, loss in enumerate(losses):
        directory.after_round(
            round_report(server_round, central=Score(loss, {"accuracy": 0.5})), WEIGHTS
        )

    directory.write_plot(
        "history.png",
        partial(draw_history, directory.reports, metrics={"accuracy": ACCURACY}, title="title"),
    )

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
