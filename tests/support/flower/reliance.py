"""One thing of Flower's that the project relies on although Flower does not promise it."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flwr
import pytest

FLOWER = Path(flwr.__file__).parent


@dataclass(frozen=True)
class Reliance:
    """What of Flower is relied on, and how to see that it is still there.

    Attributes:
        what: Its name in Flower.
        used_for: What the project does with it, as a clause.
        check: Raises whatever it likes, with or without a message, if it is not as it was.
        ours: The names of the project's rooms for Flower that rest on it.
    """

    what: str
    used_for: str
    check: Callable[[], None]
    ours: tuple[str, ...] = ()


def sentence(thing: Reliance, error: BaseException) -> str:
    """Say what a new Flower has changed, why it matters, and what to do about it."""
    reason = (f"{type(error).__name__}: {error}".splitlines() or [""])[0].strip(" :")
    return (
        f"Flower {flwr.__version__} has changed {thing.what}, which the project needs to "
        f"{thing.used_for} ({reason}). Find what has taken its place, change "
        "fl_app/messaging/flower_compat.py, strategies/aggregation/flower_arithmetic.py or "
        "scripts/processes/flower_cli.py and then this case; until then keep flwr below this "
        "version in pyproject.toml."
    )


def found(path: str) -> Any:
    """Return what `module:name.name` names."""
    module, _, names = path.partition(":")
    value: Any = importlib.import_module(module)
    for name in filter(None, names.split(".")):
        value = getattr(value, name)
    return value


def compat() -> Any:
    """Return `flower_compat`; where it cannot be imported, whatever needs it says nothing."""
    try:
        return importlib.import_module("fl_app.messaging.flower_compat")
    except ImportError as error:
        pytest.skip(f"flower_compat cannot be imported, see the case that fails: {error}")


def takes(path: str, *args: object, **kwargs: object) -> None:
    """Raise a TypeError unless a function can be called like this."""
    inspect.signature(found(path)).bind(*args, **kwargs)


def has(path: str, *names: str) -> None:
    """Raise an AttributeError unless something has all these attributes."""
    for name in names:
        getattr(found(path), name)


def source(path: str) -> str:
    """Return the text of one of Flower's files; nothing of it is imported."""
    return (FLOWER / path).read_text(encoding="utf-8")


def contains(path: str, *texts: str) -> None:
    """Raise an AssertionError unless a file of Flower's contains all these texts."""
    missing = [text for text in texts if text not in source(path)]
    assert not missing, f"flwr/{path} no longer contains {missing}"
