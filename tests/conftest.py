"""Fixtures that several rooms share."""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from scripts.repository import default_run_config

pytest.register_assert_rewrite("tests.support")

if "PYTEST_XDIST_WORKER" in os.environ:
    # More processes than cores, so one thread in each of them, and in what they start. Before
    # anything imports torch.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The machine may be busy: no example is too slow to be right.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that the last process at work is not left alone."""
    items.sort(key=lambda item: -_length(item))


def _length(item: pytest.Item) -> int:
    marks = ("slow", "waiting", "simulation")
    return sum(item.get_closest_marker(name) is not None for name in marks)


@pytest.fixture(scope="module", autouse=True)
def registered_names_are_those_of_the_project() -> Iterator[None]:
    """A part that a module of tests, or what it imports, registers is gone when it ends.

    Otherwise later tests of the same process, and the tables in the docs that they look at, would
    depend on which tests came before.
    """
    yield
    kinds = sys.modules.get("strategies.part_kinds")
    for kind in kinds.KINDS.values() if kinds else ():
        for name in kind.names:
            target = kind.entry(name).target
            module = target if isinstance(target, str) else target.__module__
            assert module.startswith(("fl_app.", "strategies.", "flwr.")), (
                f"{name!r} is still registered"
            )


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Where the real MNIST files are."""
    configured = os.environ.get("DELTA_FEDAVG_DATA_DIR")
    if not configured or not (Path(configured) / "MNIST/raw/train-images-idx3-ubyte").is_file():
        pytest.skip("MNIST is not here: set DELTA_FEDAVG_DATA_DIR to the folder that holds MNIST/")
    return Path(configured)


@pytest.fixture
def flower_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """What is logged; Flower's logger, which the project logs to, does not pass on by itself."""
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    return caplog


@pytest.fixture
def run_config(tmp_path: Path) -> dict[str, Any]:
    """The run config of a small run in the test's own folder."""
    return small_run_config(tmp_path)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw nothing: that takes longer than a small run."""
    from fl_app.results.run_directory import RunDirectory  # not for tests without it

    monkeypatch.setattr(RunDirectory, "write_plot", lambda self, name, draw: None)


def small_run_config(folder: Path) -> dict[str, Any]:
    """The defaults of pyproject.toml, made small: three participants on digits."""
    return default_run_config() | {
        "num-server-rounds": 2,
        "num-participants": 3,
        "local-epochs": 1,
        "dataset": "digits",
        "data-dir": str(folder / "data"),
        "output-dir": str(folder / "results"),
    }
