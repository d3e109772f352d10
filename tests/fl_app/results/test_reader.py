import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from torch import nn

from fl_app.core.errors import UserError
from fl_app.results.metrics_log import encode_round
from fl_app.results.reader import BEST_MODEL, MODEL, UNFINISHED, load_run, megabytes_so_far
from fl_app.results.records import ParticipantReport, RoundReport, Score
from fl_app.results.saved_model import load_model, model_file
from fl_app.tasks.model.federated_model import model_spec
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import MODELS, build_model
from tests.support.local_run import run_app, summary_of


def rounds_of(*accuracies: float, failures: int = 0) -> Iterator[RoundReport]:
    """Round 0 and further ones; two participants each, of which the first ones may fail."""
    yield RoundReport(0, central=Score(2.3, {"accuracy": 0.1}, 100))
    for number, accuracy in enumerate(accuracies, start=1):
        participants = tuple(
            ParticipantReport("0", failure="lost")
            if i < failures
            else ParticipantReport(
                str(i), None, 50, 0.5, {"accuracy": 0.8 + i / 100}, 1.5 + i, 0.1, 0.2, 1000, 2000
            )
            for i in range(2)
        )
        yield RoundReport(
            number,
            aggregated=True,
            central=Score(1 - accuracy, {"accuracy": accuracy}, 100),
            federated=Score(1.1 - accuracy, {"accuracy": accuracy - 0.01}, 90),
            participants=participants,
            bytes_up=1_000_000,
            bytes_down=3_000_000,
            fit_seconds=2.0,
            evaluate_seconds=0.5,
        )


def write_run(
    path: Path,
    reports: Iterable[RoundReport],
    settings: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run directory as the app does; without a summary, the run goes on."""
    path.mkdir(parents=True)
    run_config = {"dataset": "digits", "num-participants": 2, "seed": 1} | dict(settings or {})
    config = {"run-config": run_config, "python": "3.11.1", "packages": {"torch": "2.15"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "metrics.jsonl").write_text("".join(map(encode_round, reports)))
    if summary is not None:
        (path / "summary.json").write_text(json.dumps(summary))
    return path


METADATA = {
    "model": "simple-cnn",
    "dataset": "digits",
    "classes": '["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]',
    "mean": "0.2244",
    "std": "0.3139",
}


def write_model(
    path: Path,
    scale: float = 1.0,
    metadata: dict[str, str] | None = None,
    **changes: np.ndarray | None,
) -> Path:
    """Write a fresh model; `changes` replace its arrays, `None` leaves one out."""
    model = build_model("simple-cnn", 7)
    arrays = dict(
        zip(model_spec(model).names, (w * scale for w in get_weights(model)), strict=True)
    )
    arrays = {k: v for k, v in (arrays | changes).items() if v is not None}
    save_file(arrays, path, metadata or METADATA)
    return path


def test_what_the_app_wrote_is_read_back(run_config):
    directory = run_app(run_config)
    run, summary = load_run(directory), summary_of(directory)
    assert [report.server_round for report in run.rounds] == [0, 1, 2]
    assert run.rounds[-1].central is not None
    assert run.rounds[-1].central.metrics["accuracy"] == summary["central"]["accuracy"]
    assert run.reason == "all 2 rounds are done"
    assert run.seconds == summary["seconds"]
    assert run.weights_digest == summary["sha256"]["weights"]
    assert run.run_config["num-participants"] == 3
    rows = [(number, p.participant) for number, p in run.participants()]
    assert rows == [(n, str(i)) for n in (1, 2) for i in range(3)]
    assert megabytes_so_far(run.rounds)[-1] == (summary["bytes_up"] + summary["bytes_down"]) / 1e6

    model, metadata = load_model(directory)
    saved = load_file(directory / MODEL)
    assert (metadata["model"], metadata["dataset"]) == ("simple-cnn", "digits")
    assert all(np.array_equal(t.numpy(), saved[name]) for name, t in model.state_dict().items())


def test_a_run_that_goes_on_has_no_summary(tmp_path):
    reports = list(rounds_of(0.5, 0.6))
    run = load_run(write_run(tmp_path / "run", reports))
    assert run.rounds == reports
    assert (run.summary, run.reason, run.weights_digest) == (None, UNFINISHED, None)
    assert run.seconds == 5.0


@pytest.mark.parametrize("cut", [1, 10, 150])
def test_a_torn_last_line_is_left_out(tmp_path, cut):
    directory = write_run(tmp_path / "run", rounds_of(0.5, 0.6))
    file = directory / "metrics.jsonl"
    whole = load_run(directory).rounds
    file.write_bytes(file.read_bytes()[:-cut])
    run = load_run(directory)
    assert run.rounds[:2] == whole[:2]
    assert run.rounds[2].bytes_up == whole[2].bytes_up
    assert [p.participant for p in run.rounds[2].participants] == ["0"]


def test_before_the_first_evaluation_there_are_no_rounds(tmp_path):
    directory = write_run(tmp_path / "run", [])
    (directory / "metrics.jsonl").unlink()
    assert load_run(directory).rounds == []


def test_a_loss_that_was_not_finite_is_nan(tmp_path):
    diverged = RoundReport(0, central=Score(math.inf, {"accuracy": 0.1}, 10))
    (report,) = load_run(write_run(tmp_path / "run", [diverged])).rounds
    assert report.central is not None
    assert math.isnan(report.central.loss)
    assert report.central.metrics["accuracy"] == 0.1


def test_the_summary_of_before_a_resume_does_not_count(tmp_path):
    summary = {"reason": "the run was interrupted", "rounds": 1}
    assert load_run(write_run(tmp_path / "a", rounds_of(0.5), summary=summary)).summary == summary
    assert load_run(write_run(tmp_path / "b", rounds_of(0.5, 0.6), summary=summary)).summary is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json is damaged"),
        ("config.json", "{}", "config.json has no run-config"),
        ("summary.json", "[1]", "summary.json is damaged: it holds no JSON object"),
        ("metrics.jsonl", "{}\n", "metrics.jsonl is damaged: line 1"),
        ("metrics.jsonl", "[]\n", "metrics.jsonl is damaged: line 1"),
        ("metrics.jsonl", '{"schema": 99, "kind": "round"}\n', "its schema is 99"),
    ],
)
def test_damage_is_told_with_the_file(tmp_path, name, content, message):
    directory = write_run(tmp_path / "run", rounds_of(0.5))
    (directory / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_run(directory)


def test_what_is_no_run_directory_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path, "neither config.json nor metrics.jsonl"),
        (tmp_path / "absent", "does not exist"),
        (tmp_path / "file", "is not a folder"),
    ):
        with pytest.raises(UserError, match=message):
            load_run(path)


def test_the_final_model_is_preferred(tmp_path):
    with pytest.raises(UserError, match=r"holds no model.safetensors or best.safetensors"):
        model_file(tmp_path)
    best = write_model(tmp_path / BEST_MODEL)
    assert model_file(tmp_path) == best
    final = write_model(tmp_path / MODEL, scale=2.0)
    assert model_file(tmp_path) == model_file(final) == final
    assert model_file(tmp_path, best=True) == best
    first, second = (get_weights(load_model(path)[0])[0] for path in (tmp_path, best))
    assert np.array_equal(first, 2 * second)
    with pytest.raises(UserError, match="in a run directory only"):
        model_file(final, best=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc2.bias": None}, r"fc2\.bias is missing"),
        ({"extra": np.zeros(1, np.float32)}, "extra is unknown to it"),
        ({"fc2.bias": np.zeros(7, np.float32)}, r"fc2\.bias has shape \[7\], not \[10\]"),
        ({"fc2.bias": np.zeros(10, np.float64)}, r"fc2\.bias is float64, not float32"),
        ({"metadata": {"dataset": "digits"}}, "metadata has no 'model'"),
        ({"metadata": {"model": "other"}}, '"other" is not known'),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        load_model(write_model(tmp_path / "m.safetensors", **changes))


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not at all a model"])
def test_a_damaged_model_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="no readable safetensors file"):
        load_model(tmp_path / "m.safetensors")


def test_integer_buffers_are_those_of_a_fresh_model(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "normed", lambda: nn.BatchNorm1d(3))
    arrays = {n: np.full(3, 5.0, np.float32) for n in model_spec(build_model("normed", 0)).names}
    assert "num_batches_tracked" not in arrays
    save_file(arrays, tmp_path / MODEL, {"model": "normed"})
    state = load_model(tmp_path)[0].state_dict()
    assert state.pop("num_batches_tracked") == 0
    assert all((tensor == 5).all() for tensor in state.values())


def test_a_file_names_no_code_to_run_but_its_reader_may(tmp_path):
    sentinel, code = tmp_path / "ran", tmp_path / "net.py"
    code.write_text(
        f"open({str(sentinel)!r}, 'w').close()\n"
        "from fl_app.tasks.images.simple_cnn import SimpleCNN as Net\n"
    )
    file = write_model(tmp_path / "m.safetensors", metadata={"model": f"{code}:Net"})

    with pytest.raises(UserError, match=r"which is code of yours; .* with --architecture"):
        load_model(file)
    assert not sentinel.exists()

    model, metadata = load_model(file, architecture=f"{code}:Net")
    assert sentinel.exists()
    assert metadata["model"] == f"{code}:Net"
    assert sum(p.numel() for p in model.parameters()) == 431_080
