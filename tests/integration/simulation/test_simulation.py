"""The real thing: SuperLink, Ray workers, the bundle that `flwr run` makes."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scripts.launcher.app_bundle import stage_app
from scripts.repository import REPOSITORY
from tests.support.command_run import PATIENCE
from tests.support.local_run import run_app, summary_of

pytestmark = [pytest.mark.slow, pytest.mark.simulation, pytest.mark.timeout(900)]

# A participant that falls asleep in round 2, once or for good, wrapped around the real one.
SLEEPY_CLIENT = """
import time
from flwr.clientapp import ClientApp
from fl_app.client_app import client_fn
from fl_app.messaging.client_mods import give_up_at_deadline, report_failures

def sleep_in_round_2(message, context, call_next):
    in_round_2 = message.metadata.message_type == "train" and message.metadata.group_id == "2"
    if in_round_2 and context.node_config["partition-id"] == 1:
        time.sleep(3600)
    return call_next(message, context)

app = ClientApp(client_fn, mods=[report_failures, give_up_at_deadline, sleep_in_round_2])
"""


@pytest.fixture
def config(run_config: dict[str, Any]) -> dict[str, Any]:
    return run_config | {"num-server-rounds": 3, "tensorboard": False}


def launch(config: dict[str, Any], folder: Path, *options: str) -> "subprocess.Popen[str]":
    """Start the launcher with a run config."""
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in config.items()
    ]
    file = folder / "run-config.toml"
    file.write_text("\n".join(lines))
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.launcher.simulate", "-c", str(file), *options],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]", status: int = 0) -> str:
    """Wait for the launcher's end, which must have a status; return its output."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.terminate()  # it takes its processes with it
        output, _ = process.communicate(timeout=60)
        pytest.fail(f"the launcher did not end in {PATIENCE:g} s:\n{output}")
    assert process.returncode == status, output
    return output


def only_run(config: dict[str, Any]) -> Path:
    (directory,) = Path(config["output-dir"]).iterdir()
    return directory


def test_two_workers_give_the_weights_of_a_local_run(
    config: dict[str, Any], tmp_path: Path
) -> None:
    finish(launch(config, tmp_path))

    local = run_app(config | {"output-dir": str(tmp_path / "local")})
    assert summary_of(only_run(config))["sha256"] == summary_of(local)["sha256"]


def test_one_worker_gives_them_and_masks_cancel_as_they_do_in_one_process(
    config: dict[str, Any], tmp_path: Path
) -> None:
    secure = config | {"secure-aggregation": True, "clip-norm": 0.1, "num-server-rounds": 2}
    output = finish(launch(secure, tmp_path, "--cpus-per-client", str(os.cpu_count())))
    assert "3 of 3 participants" in output

    local = run_app(secure | {"output-dir": str(tmp_path / "local")})
    assert summary_of(only_run(config))["sha256"] == summary_of(local)["sha256"]


def test_a_run_killed_in_the_middle_of_a_round_is_continued_to_the_same_weights(
    config: dict[str, Any], tmp_path: Path
) -> None:
    process = launch(config | {"local-epochs": 3}, tmp_path)
    results = Path(config["output-dir"])
    deadline = time.monotonic() + PATIENCE
    while not any("round 1/3" in line for line in _lines(process, deadline)):
        assert time.monotonic() < deadline
    kill_simulation(results)
    output = finish(process, status=1)
    assert "error: the run ended" in output

    directory = only_run(config)
    finish(launch({}, tmp_path, "--resume", str(directory)))

    uninterrupted = run_app(
        config | {"local-epochs": 3, "output-dir": str(tmp_path / "uninterrupted")}
    )
    assert summary_of(directory)["sha256"] == summary_of(uninterrupted)["sha256"]


def test_a_participant_that_sleeps_for_an_hour_costs_one_deadline(
    config: dict[str, Any], tmp_path: Path
) -> None:
    app = tmp_path / "sleepy-app"
    for package in ("fl_app", "strategies"):
        shutil.copytree(REPOSITORY / package, app / package)
    (app / "sleepy.py").write_text(SLEEPY_CLIENT)
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    pyproject = pyproject.replace("fl_app.client_app:app", "sleepy:app")
    pyproject = pyproject.replace("fab-include = [", 'fab-include = ["sleepy.py", ')
    (app / "pyproject.toml").write_text(pyproject)
    for name in ("README.md", "LICENSE", ".gitignore"):
        shutil.copy(REPOSITORY / name, app)

    start = time.monotonic()
    output = finish(launch(config | {"round-deadline": 60.0}, tmp_path, "--app", str(app)))

    assert time.monotonic() - start < 600
    summary = summary_of(only_run(config))
    assert (summary["rounds"], summary["failures"]) == (3, 1)
    assert "round 2: participant 1 did not train: " in output
    assert "2 of 3 participants, 1 failed" in output


def test_the_bundle_holds_the_application_only(tmp_path: Path) -> None:
    app = stage_app(REPOSITORY, tmp_path / "app")
    flwr = Path(sys.executable).with_name("flwr")
    subprocess.run([flwr, "build", "--app", app], cwd=tmp_path, check=True, capture_output=True)
    (fab,) = tmp_path.glob("*.fab")
    names = set(zipfile.ZipFile(fab).namelist())
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    for component in config["tool"]["flwr"]["app"]["components"].values():
        assert component.split(":")[0].replace(".", "/") + ".py" in names
    tops = {name.split("/")[0] for name in names}
    assert tops <= {"fl_app", "strategies", "pyproject.toml", "README.md", "LICENSE", ".info"}


def _lines(process: "subprocess.Popen[str]", deadline: float) -> list[str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the launcher ended early"
    return [line]


def kill_simulation(results: Path) -> None:
    """Send SIGKILL to the process that runs the server, known by its open run directory."""
    (directory,) = results.iterdir()
    lock = directory / ".lock"
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if any(fd.readlink() == lock for fd in (proc / "fd").iterdir()):
                os.kill(int(proc.name), signal.SIGKILL)
                return
        except OSError:
            continue
    pytest.fail("no process holds the run directory")
