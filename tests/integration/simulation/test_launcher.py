"""The launcher with a real SuperLink and Ray, and a toy app in place of ours."""

import ast
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.processes.process_tree import find_processes
from tests.support.command_run import CommandRun

pytestmark = [pytest.mark.slow, pytest.mark.simulation]

NO_JOB = "-ffffffff-"  # in the name of a Ray worker's log

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "toy"
version = "0.1.0"
description = "toy"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "toy"
[tool.flwr.app.components]
serverapp = "toy_app:server"
clientapp = "toy_app:client"
[tool.flwr.app.config]
num-server-rounds = 1
num-participants = 2
local-epochs = 1
output-dir = ""
behaviour = "finish"
"""

APP = """
import os
import time
from pathlib import Path

import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg


class Client(NumPyClient):
    def fit(self, parameters, config):
        time.sleep(0.1)
        return parameters, 1, {}


def components(context):
    config = context.run_config
    if config["behaviour"] == "raise":
        raise RuntimeError("as asked")
    out = Path(config["output-dir"]) / "only"
    out.mkdir(parents=True)
    print("results:", out, flush=True)
    rounds = 10**6 if config["behaviour"] == "endless" else 1
    strategy = FedAvg(
        fraction_evaluate=0.0,
        min_available_clients=2,
        initial_parameters=ndarrays_to_parameters([np.zeros(3)]),
        on_fit_config_fn=lambda round: print("round:", round, flush=True) or {},
    )
    return ServerAppComponents(config=ServerConfig(num_rounds=rounds), strategy=strategy)


server = ServerApp(server_fn=components)
client = ClientApp(client_fn=lambda context: Client().to_client())
"""

# In a Ray worker: says how the app was loaded, and where the output goes, which names the job.
NOTE = """

import sys
import traceback

LOADED = {{}}
if "default_worker" in sys.argv[0]:
    stack = traceback.extract_stack()
    LOADED["ahead"] = any(frame.filename.endswith("processes/preload.py") for frame in stack)
    LOADED["output"] = os.readlink("/proc/self/fd/1")


class Noting(Client):
    def fit(self, parameters, config):
        Path({notes!r}).joinpath(str(os.getpid())).write_text(repr(LOADED))
        return super().fit(parameters, config)


client = ClientApp(client_fn=lambda context: Noting().to_client())
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (folder / "toy_app.py").write_text(APP, encoding="utf-8")
    return folder


class Run(CommandRun):
    """A launcher under way, started in a folder that has nothing to do with it."""

    def __init__(self, app: Path, *arguments: str, name: str) -> None:
        folder = app.parent / name
        options = ["--app", str(app), "--output-dir", "out", *arguments]
        super().__init__("scripts.launcher.simulate", *options, folder=folder)


Start = Callable[..., Run]


@pytest.fixture
def start(app: Path) -> Iterator[Start]:
    runs: list[Run] = []

    def start_run(*arguments: str) -> Run:
        runs.append(Run(app, *arguments, name=f"run-{len(runs)}"))
        return runs[-1]

    yield start_run
    for run in runs:
        run.abandon()


def test_two_launches_at_once_complete_and_leave_nothing(start: Start) -> None:
    runs = [start(), start()]

    for run in runs:
        assert run.finish() == 0, run.output()
        # Relative to where the user stood.
        assert (run.cwd / "out" / "only").is_dir()
        lines = run.output().splitlines()
        assert lines[0] == "Starting a simulation of 2 participants."
        assert lines[-1] == f"Results: {run.cwd / 'out' / 'only'}"
        # The log is plain text, and what concerns nobody is not in it.
        assert "\x1b" not in run.output()
        for text in ("SuperLink:", "simulated SuperNodes", "ClientAppActor", "INFO"):
            assert text not in run.output()
        assert run.traces() == []
        # The user's own Flower configuration is not even created.
        assert not (run.home / ".flwr").exists()


def test_ctrl_c_in_the_middle_leaves_nothing(start: Start) -> None:
    run = start("-c", "behaviour='endless'")
    run.wait_for("round: 2")
    assert len(find_processes(run.launch_id)) > 3

    run.process.send_signal(signal.SIGINT)

    assert run.finish() == 128 + signal.SIGINT, run.output()
    assert run.traces() == []


def test_a_second_ctrl_c_and_a_third_are_quicker_and_leave_nothing(start: Start) -> None:
    run = start("-c", "behaviour='endless'")
    run.wait_for("round: 1")
    for _ in range(3):
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.3)

    assert run.finish() == 128 + signal.SIGINT, run.output()
    assert run.traces() == []


def test_of_a_killed_launcher_the_watchdog_leaves_nothing(start: Start) -> None:
    run = start("-c", "behaviour='endless'")
    run.wait_for("round: 1")
    assert find_processes(run.launch_id)

    run.abandon()

    deadline = time.monotonic() + 60.0
    while run.traces() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert run.traces() == []


def test_a_server_app_that_raises_gives_a_failure_and_its_reason(start: Start) -> None:
    run = start("-c", "behaviour='raise'")

    assert run.finish() == 1, run.output()
    assert "error: the run ended as finished:failed: " in run.output()
    assert "as asked" in run.output()
    assert run.output().splitlines()[-1] == "error: the run ended as finished:failed: as asked"
    assert run.traces() == []
    log = re.search(r"The SuperLink's log is (\S+)", run.output())
    assert log is not None
    shutil.rmtree(Path(log[1]).parent)


def test_forced_colours_colour_nothing_that_the_launcher_reads(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    run = start()

    assert run.finish() == 0, run.output()
    assert run.output().splitlines()[-1] == f"Results: {run.cwd / 'out' / 'only'}"


def test_the_workers_had_started_before_there_was_a_job_and_loaded_the_app_ahead(
    start: Start, app: Path, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (app / "toy_app.py").write_text(APP + NOTE.format(notes=str(notes)), encoding="utf-8")

    run = start()

    assert run.finish() == 0, run.output()
    loaded = [ast.literal_eval(note.read_text()) for note in notes.iterdir()]
    assert loaded
    assert {worker["ahead"] for worker in loaded} == {True}
    assert all(NO_JOB in worker["output"] for worker in loaded), loaded
