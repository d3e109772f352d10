"""Reading a run directory back: the counterpart of `fl_app.results.run_directory`."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fl_app.core.errors import UserError
from fl_app.core.metrics import LOSS, LOSS_METRIC, Metric
from fl_app.core.plugins import DEFAULT_TASK
from fl_app.results.metrics_log import decode_rounds
from fl_app.results.records import ParticipantReport, RoundReport

if TYPE_CHECKING:  # PyTorch takes seconds to import, and most readers want no model
    from torch import nn

    from fl_app.tasks.task import Task

CONFIG, METRICS, SUMMARY = "config.json", "metrics.jsonl", "summary.json"
MODEL, BEST_MODEL = "model.safetensors", "best.safetensors"
UNFINISHED = "no summary: still running, or killed"


@dataclass(frozen=True)
class RunResults:
    """What is known of a run, finished or not.

    Attributes:
        path: The run directory.
        rounds: Every round so far, round 0 included, with its participants. A round that
            was being written when the run was killed may lack some participants.
        config: `config.json`: `run-config`, `python` and `packages`.
        summary: `summary.json`, or `None` for a run that goes on or was killed.
    """

    path: Path
    rounds: list[RoundReport]
    config: dict[str, Any]
    summary: dict[str, Any] | None

    @property
    def run_config(self) -> dict[str, Any]:
        """The settings, under their run-config keys."""
        settings: dict[str, Any] = self.config["run-config"]
        return settings

    @property
    def dataset(self) -> str:
        """The name of the data set in use."""
        return str(self.run_config.get("dataset", "unknown"))

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics of the task by name, the loss last; runs of earlier releases had these two.

        Their values are in the rounds: what stands here says which are better, and how to show
        them.
        """
        found = self.config.get("metrics") or {"accuracy": {"better": "higher", "percent": True}}
        known = {n: Metric(m["better"], bool(m["percent"])) for n, m in found.items()}
        return {**known, LOSS: LOSS_METRIC}

    @property
    def reason(self) -> str:
        """Why the run ended, or that it has not."""
        return str(self.summary.get("reason", "")) if self.summary else UNFINISHED

    @property
    def seconds(self) -> float:
        """Wall-clock time: of the whole run, or of its rounds while there is no summary."""
        rounds = sum(report.seconds for report in self.rounds)
        return float(self.summary.get("seconds", rounds)) if self.summary else rounds

    @property
    def weights_digest(self) -> str | None:
        """The SHA-256 of the final weights, once there is a summary."""
        digests = self.summary.get("sha256") if self.summary else None
        return digests.get("weights") if isinstance(digests, dict) else None

    def participants(self) -> Iterator[tuple[int, ParticipantReport]]:
        """Yield everybody who was asked to train, with the round, in order."""
        for report in self.rounds:
            for participant in report.participants:
                yield report.server_round, participant


def megabytes_so_far(rounds: Sequence[RoundReport]) -> list[float]:
    """Return what was communicated up to and with each round, both ways, in units of 1e6 bytes."""
    sizes = [report.bytes_up + report.bytes_down for report in rounds]
    return [float(total) / 1e6 for total in np.cumsum(sizes)]


def load_run(path: Path) -> RunResults:
    """Read a run directory, also while the run goes on and after it was killed.

    A last line of `metrics.jsonl` that is not complete is left out. A loss that was not
    finite is NaN.

    Raises:
        UserError: If `path` is no run directory, or a file in it cannot be read.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder" if path.exists() else f"{path} does not exist")
    if not (path / CONFIG).exists() and not (path / METRICS).exists():
        raise UserError(f"{path} is not a run directory: it holds neither {CONFIG} nor {METRICS}")
    config = _read_object(path / CONFIG)
    if not isinstance(config.get("run-config"), dict):
        raise UserError(f"{path / CONFIG} has no run-config")
    summary = _read_object(path / SUMMARY) if (path / SUMMARY).exists() else None
    rounds = _read_rounds(path / METRICS)
    if summary and rounds and rounds[-1].server_round > summary.get("rounds", math.inf):
        summary = None  # that of an earlier part of the run, which has been resumed since
    return RunResults(path, rounds, config, summary)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return content


def _read_rounds(path: Path) -> list[RoundReport]:
    if not path.exists():  # the run has not come to its first evaluation
        return []
    complete, _, _torn = _read(path).rpartition(b"\n")
    try:
        return decode_rounds(complete.decode().splitlines())
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def model_file(path: Path, best: bool = False) -> Path:
    """Find the model that `path` means.

    Args:
        path: A run directory or a safetensors file.
        best: Take a run's best model and not its final one.

    Returns:
        A file: of a run that goes on or was killed, and has no final model, its best.

    Raises:
        UserError: If there is none, or the best of a single file is asked for.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if path.is_file():
        if best and path.name != BEST_MODEL:
            raise UserError(f"{path} is a file; the best model is found in a run directory only")
        return path
    wanted = (BEST_MODEL,) if best else (MODEL, BEST_MODEL)
    for name in wanted:
        if (path / name).is_file():
            return path / name
    raise UserError(f"{path} holds no {' or '.join(wanted)}")


def which_model(file: Path, metadata: Mapping[str, str]) -> str:
    """Say which of its run's models a file is, and what became of one that should be there."""
    kinds = {MODEL: "the final model", BEST_MODEL: "the best model"}
    of = metadata.get("round")
    told = {None: "", "0": ", untrained: that of round 0"}.get(of, f", after round {of}")
    parts = [kinds.get(file.name, "a model") + told]
    if file.name not in kinds or not (file.parent / SUMMARY).is_file():
        unfinished = file.name in kinds and (file.parent / CONFIG).is_file()
        return parts[0] + f"; {UNFINISHED}" * unfinished
    summary = _read_object(file.parent / SUMMARY)
    best = (summary.get("best") or {}).get("round")
    if file.name == BEST_MODEL and of is not None and str(best) != of:
        parts.append(f"the best round was {best}, whose model is not here")
    if not (file.parent / MODEL).exists():
        parts.append("the final model is not here")
    for name, now in (summary.get("not_written") or {}).items():
        if name in kinds:
            parts.append(f"the run could not write its {name} here; it is {now or 'lost'}")
    return "; ".join(parts)


def load_model(
    path: Path, best: bool = False, architecture: str | None = None, task: str | None = None
) -> tuple["nn.Module", dict[str, str]]:
    """Load a model that a run has saved; see `load_task_model`."""
    _, model, metadata = load_task_model(path, best, architecture, task)
    return model, metadata


def load_task_model(
    path: Path, best: bool = False, architecture: str | None = None, task: str | None = None
) -> tuple["Task", "nn.Module", dict[str, str]]:
    """Load a model that a run has saved, with its task.

    What is not in the file, such as the integer buffers in one of an earlier version, is that of a
    freshly built model.

    Args:
        path: A run directory or a safetensors file.
        best: Take a run's best model and not its final one.
        architecture: What it is a model of, as the run config's `model` would say. A file may
            come from anybody, so of itself it can name a registered model only, and no code.
        task: Likewise what the run config's `task` would say.

    Returns:
        The task, the model on the CPU, and the file's metadata: `task`, `model`, mostly `dataset`.

    Raises:
        UserError: If there is no model, the file is damaged, or what it holds differs from
            the model of the task in names, shapes or dtypes; the message says where.
    """
    from fl_app.tasks.model.parameters import load_state, state_arrays
    from fl_app.tasks.registry import build_task, initial_model
    from strategies.registry import PartError, keys_of_options, keys_taken_by

    file = model_file(path, best)
    arrays, metadata = _read_tensors(file)
    if "model" not in metadata:
        raise UserError(f"{file} does not say what model it is of: its metadata has no 'model'")
    kind = task or metadata.get("task", DEFAULT_TASK)
    settings = _settings_in(file, metadata) | {"model": architecture or metadata["model"]}
    try:
        _refuse_code("task", kind, "--task", said=task is not None)
        in_name = keys_of_options("task", kind)
        of = {**settings, **in_name}
        if "model" in keys_taken_by("task", kind):
            said = (task is not None) if "model" in in_name else (architecture is not None)
            _refuse_code("model", str(of["model"]), "--architecture", said)
        built = build_task(kind, settings)
        built.restore(metadata)
        model = initial_model(built, seed=0, local=metadata.get("local-parameters", ""))
    except (UserError, PartError) as error:
        raise UserError(f"{file}: {error}") from error
    expected = state_arrays(model)
    if differences := list(_differences(arrays, expected)):
        what = of["model"] if kind == DEFAULT_TASK else kind
        raise UserError(f"{file} does not fit the model {what!r}: {'; '.join(differences)}")
    load_state(model, arrays)
    return built, model, metadata


def _settings_in(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what of the run config a file says that its task depends on, by key."""
    try:
        return dict(json.loads(metadata.get("task-settings", "{}")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged: its task-settings cannot be read: {error}") from error


def _refuse_code(kind: str, text: str, option: str, said: bool) -> None:
    """Refuse to run code that a file names and the user does not."""
    from strategies.registry import is_path

    if not said and is_path(kind, text):
        raise UserError(
            f"it is of the {kind} {text!r}, which is code of yours; to run that code, say so with "
            f"{option}"
        )


def _read_tensors(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as tensors:
            arrays = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
            return arrays, tensors.metadata() or {}
    except (OSError, SafetensorError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is no readable safetensors file: {error}") from error


def _differences(
    found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]
) -> Iterator[str]:
    for name in sorted(expected.keys() - found.keys()):
        if expected[name].dtype.kind in "fc":
            yield f"{name} is missing"
    for name in sorted(found.keys() - expected.keys()):
        yield f"{name} is unknown to it"
    for name in sorted(expected.keys() & found.keys()):
        is_now, should_be = found[name], expected[name]
        if is_now.shape != should_be.shape:
            yield f"{name} has shape {list(is_now.shape)}, not {list(should_be.shape)}"
        elif is_now.dtype != should_be.dtype:
            yield f"{name} is {is_now.dtype}, not {should_be.dtype}"
