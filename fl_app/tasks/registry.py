"""Tasks and models by name, and a run's initial weights.

What of a model travels is decided in `fl_app.tasks.model.federated_model`. Integer buffers (a batch
norm's count of batches) have no meaningful average: each participant keeps those of a freshly built
model.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import torch
from torch import nn

from fl_app.core.errors import ConfigError, UserError
from fl_app.core.plugins import part, told_as_config_error
from fl_app.core.run_config import RunConfig
from fl_app.core.seeding import Stream, derive_seed
from fl_app.tasks.checks import check_metrics
from fl_app.tasks.model.federated_checks import check_federated
from fl_app.tasks.model.federated_model import keep_local, state_names
from fl_app.tasks.task import Task
from strategies.part_kinds import KINDS
from strategies.registry import find_part, keys_taken_by, register

ModelClass = TypeVar("ModelClass", bound=Callable[..., nn.Module])
TaskClass = TypeVar("TaskClass", bound=Callable[..., Task])

MODELS = KINDS["model"].names
"""What each name of a model stands for."""


def register_model(name: str) -> Callable[[ModelClass], ModelClass]:
    """Make an image model available as `model = "<name>"` in the run config.

    Raises:
        ValueError: If the name is taken.
    """
    return register("model", name)


def register_task(name: str) -> Callable[[TaskClass], TaskClass]:
    """Make a task available as `task = "<name>"` in the run config.

    Raises:
        ValueError: If the name is taken.
    """
    return register("task", name)


def build_task(text: str, settings: Mapping[str, Any]) -> Task:
    """Build a task.

    Args:
        text: A name or a path, with options.
        settings: Values of the run config by key, for options that have a key of their own.

    Raises:
        ConfigError: If there is no such task, or it does not take these options.
    """
    with torch.random.fork_rng(devices=[]):  # a user's file may draw random numbers on import
        task = part("task", text, settings)
    if not isinstance(task, Task):
        raise ConfigError(
            f'run config: task = "{text}" gave a {type(task).__name__}; it must give a Task of '
            "fl_app.tasks.task"
        )
    check_metrics(task)
    return task


def task_of(config: RunConfig, dataset: str | None = None) -> Task:
    """Build the task of a run.

    Args:
        config: The run config.
        dataset: The data set, where `auto` has been resolved.
    """
    return build_task(config.task, task_settings(config, dataset))


def task_settings(config: RunConfig, dataset: str | None = None) -> dict[str, Any]:
    """Return what of a run config its task depends on, by key, `task` itself left out."""
    settings = config.as_run_config() | ({} if dataset is None else {"dataset": dataset})
    with told_as_config_error():
        return {key: settings[key] for key in sorted(keys_taken_by("task", config.task))}


def initial_model(task: Task, seed: int, local: str = "") -> nn.Module:
    """Build a task's model with the initial weights `w_0` of a run.

    The weights depend on the task and the seed alone; the global random state is left as it was.

    Args:
        task: The task.
        seed: The run's.
        local: Patterns of names, separated by commas, of what stays with each participant, beside
            what the task says (run-config key local-parameters).

    Raises:
        ConfigError: If the model cannot be built or federated, or a pattern fits nothing.
    """
    with told_with("build_model", task), _seeded(seed):
        model = task.build_model()
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"the task {type(task).__name__} builds a {type(model).__name__}; build_model must "
            "return a torch.nn.Module"
        )
    names = state_names(model)
    own = {name for name in names if not task.is_federated(name)}
    keep_local(model, own | _matching(names, local))
    check_federated(model)
    return model


@contextmanager
def told_with(method: str, task: Task, on: str = "") -> Iterator[None]:
    """Turn what a method of a task raises, whatever it is, into a sentence for the user.

    Args:
        method: Its name.
        task: The task.
        on: Like " on 'a.csv'", what it was given; "" says nothing of it.

    Raises:
        ConfigError: Names the method, the task, and what it raised.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{method} of the task {type(task).__name__} fails{on}: {type(error).__name__}: {error}"
        ) from error


def build_model(name: str, seed: int) -> nn.Module:
    """Build an image model by name or path with the initial weights of a run.

    Raises:
        ConfigError: If there is no such model, or it cannot be built or federated.
    """
    with told_as_config_error(), _seeded(seed, lambda: find_part("model", name)) as make:
        model: nn.Module = make()
    check_federated(model)
    return model


@contextmanager
def _seeded(seed: int, before: Callable[[], Any] | None = None) -> Iterator[Any]:
    """Let layers draw a run's initial weights; `before` may draw what it likes."""
    with torch.random.fork_rng(devices=[]):
        found = None if before is None else before()
        torch.default_generator.manual_seed(derive_seed(Stream.INITIAL_WEIGHTS, seed))
        yield found


def _matching(names: list[str], patterns: str) -> set[str]:
    """Return the names that fit one of the patterns, in which `*` stands for anything."""
    found: set[str] = set()
    for pattern in filter(None, map(str.strip, patterns.split(","))):
        fitting = {name for name in names if fnmatchcase(name, pattern)}
        if not fitting:
            raise ConfigError(
                f"run config: local-parameters = {patterns!r}: {pattern!r} fits no parameter or "
                f"buffer of the model, which has {', '.join(names)}"
            )
        found |= fitting
    return found
