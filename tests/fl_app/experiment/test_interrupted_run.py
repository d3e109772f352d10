"""A run that ends at any point of its rounds has saved one moment, and resumes from it exactly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from fl_app.callbacks.best_model import BestModel
from fl_app.callbacks.checkpoint import Checkpointer
from fl_app.callbacks.early_stopping import FailedRounds
from fl_app.callbacks.progress import ProgressLog
from fl_app.results import run_directory
from fl_app.results.run_directory import RunDirectory
from fl_app.rounds.phases import Phases
from strategies.privacy.secure_random import SecureGaussian
from tests.fl_app.results.reported_round import round_report
from tests.support.local_run import digest, metrics, run_app, summary_of

pytestmark = pytest.mark.slow

REMEMBERING: dict[str, dict[str, Any]] = {
    "adam": {"server-optimizer": "adam(lr=0.05)"},
    "scaffold": {"scaffold": True},
    "adaptive-clip": {
        "privacy": "central",
        "noise-multiplier": 1.0,
        "clip-norm": 0.01,
        "adaptive-clip-quantile": 0.5,
        "fraction-evaluate": 0.0,
    },
}


@pytest.fixture
def config(config, monkeypatch) -> dict[str, Any]:
    """Four rounds; noise that is the same whenever it is drawn."""

    def foreseeable(self: SecureGaussian, shape: tuple[int, ...], std: float) -> Any:
        return np.full(shape, std / 100)

    monkeypatch.setattr(SecureGaussian, "sample", foreseeable)
    longer: dict[str, Any] = config | {"num-server-rounds": 4}
    return longer


class StoppedError(Exception):
    """What interrupts the run."""


def after(kind: type, method: str) -> tuple[type, str, bool]:
    return kind, method, False


def before(kind: type, method: str) -> tuple[type, str, bool]:
    return kind, method, True


PLACES = {
    "before the snapshot": before(RunDirectory, "after_round"),
    "before the rows": before(RunDirectory, "append_rows"),
    "after the rows": after(RunDirectory, "append_rows"),
    "before the best model": before(BestModel, "after_round"),
    "after the best model": after(BestModel, "after_round"),
    "after the progress": after(ProgressLog, "after_round"),
    "after a condition": after(FailedRounds, "after_round"),
    "before the checkpoint": before(Checkpointer, "after_round"),
    "after the checkpoint": after(Checkpointer, "after_round"),
}


def stop_at(
    monkeypatch: pytest.MonkeyPatch, place: tuple[type, str, bool], passage: int, error: type
) -> None:
    """Raise `error` at a place of a run, once, when it is passed for the `passage`-th time."""
    kind, name, at_first = place
    method: Callable[..., Any] = getattr(kind, name)
    passages = iter(range(1, 1000))

    def stopped(*args: Any, **kwargs: Any) -> Any:
        stops = next(passages) == passage
        if stops and at_first:
            raise error
        result = method(*args, **kwargs)
        if stops:
            raise error
        return result

    monkeypatch.setattr(kind, name, stopped)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("parts", REMEMBERING)
def test_an_error_between_any_two_hooks_leaves_one_moment(config, monkeypatch, parts, place):
    config |= REMEMBERING[parts]
    whole = run_app(config)
    results = Path(config["output-dir"])

    error = KeyboardInterrupt if place.startswith("after") else StoppedError
    passage = 5 if place.endswith("rows") else 3  # rows are looked at with every checkpoint, too
    with monkeypatch.context() as patch:
        stop_at(patch, PLACES[place], passage, error)
        with pytest.raises(error):
            run_app(config)
    (stopped,) = set(results.iterdir()) - {whole}
    rows = [row["server_round"] for row in metrics(stopped, "round")]
    # Only before the snapshot is the round not taken in.
    assert rows == ([0, 1] if place == "before the snapshot" else [0, 1, 2])
    assert summary_of(stopped)["rounds"] == saved_round(stopped) == rows[-1]

    resumed = run_app(config | {"resume": str(stopped)})

    assert digest(resumed) == digest(whole)
    assert [row["server_round"] for row in metrics(resumed, "round")] == [0, 1, 2, 3, 4]


def saved_round(directory: Path) -> int:
    with safe_open(directory / "checkpoint.safetensors", framework="numpy") as file:
        state: str = file.metadata()["state"]
    return int(state.split('"server-round": ')[1].split(",")[0])


@pytest.mark.parametrize("parts", ["adam", "scaffold"])
def test_an_error_while_a_round_waits_for_its_evaluation_loses_nothing(config, monkeypatch, parts):
    config |= REMEMBERING[parts] | {"fraction-evaluate": 1.0, "evaluate-with-training": True}
    whole = run_app(config)

    with monkeypatch.context() as patch:
        stop_at(patch, before(Phases, "train"), 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            run_app(config)
    (stopped,) = set(Path(config["output-dir"]).iterdir()) - {whole}
    assert saved_round(stopped) == 2

    resumed = run_app(config | {"resume": str(stopped)})

    assert digest(resumed) == digest(whole)


def test_rows_that_were_written_half_are_not_there_twice(tmp_path, monkeypatch):
    """A signal that comes while a row is appended."""
    directory = RunDirectory(tmp_path / "run")
    weights = [np.zeros(2, np.float32)]
    directory.after_round(round_report(0), weights)
    with monkeypatch.context() as patch:

        def half(path: Path, text: str) -> None:
            with path.open("a") as file:
                file.write(text[: len(text) // 2])
            raise KeyboardInterrupt

        patch.setattr(run_directory, "append_durably", half)
        with pytest.raises(KeyboardInterrupt):
            directory.after_round(round_report(1), weights)

    directory.append_rows(again=True)

    assert [row["server_round"] for row in metrics(directory.path, "round")] == [0, 1]


def test_rows_that_somebody_has_removed_are_written_again(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    weights = [np.zeros(2, np.float32)]
    directory.after_round(round_report(0), weights)
    (directory.path / "metrics.jsonl").unlink()

    directory.after_round(round_report(1), weights)

    assert [row["server_round"] for row in metrics(directory.path, "round")] == [0, 1]
