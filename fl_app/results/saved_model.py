"""Reading a model that a run has saved, with the task that it is for."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fl_app.core.errors import UserError
from fl_app.core.plugins import DEFAULT_TASK
from fl_app.results.reader import BEST_MODEL, CONFIG, MODEL, SUMMARY, UNFINISHED, read_object

if TYPE_CHECKING:  # PyTorch takes seconds to import, and most readers want no model
    from torch import nn

    from fl_app.tasks.task import Task


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
    summary = read_object(file.parent / SUMMARY)
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
    from strategies.part_specs import PartError
    from strategies.registry import keys_of_options, keys_taken_by

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
