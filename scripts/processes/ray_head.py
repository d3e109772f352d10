"""A Ray for one run, started while Flower's own processes start: its workers load the app ahead.

Flower starts Ray, if it has to, after the server has loaded its half of the app, and its workers
load theirs when the first message comes. Here both happen while SuperLink, SuperExec and
simulation start, one after the other, on one core. Flower joins this Ray by `RAY_ADDRESS`, as it
would join a cluster.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from scripts.processes import hold_ray, preload
from scripts.processes.flower_cli import RAY_ACTOR_MODULE
from scripts.processes.superlink import Launch, LaunchError, spawn
from scripts.repository import REPOSITORY

_ENDED = "Ray, which computes the participants' part, ended early"


def start_ray(launch: Launch, app: Path, num_workers: int) -> "subprocess.Popen[str]":
    """Start Ray at the launch's address, and do not wait for it; it ends with the caller.

    Args:
        launch: Whose Ray it is; whoever joins it does so in the launch's environment.
        app: Folder of the Flower app, the very files that Flower bundles.
        num_workers: Workers to keep; Ray starts one per CPU.
    """
    path = [str(app), os.environ.get("PYTHONPATH"), str(REPOSITORY)]
    environment = {
        "RAY_ADDRESS": "local",
        "RAY_GCS_SERVER_PORT": launch.ray_address.rpartition(":")[2],
        "RAY_preload_python_modules": preload.__name__,
        preload.VARIABLE: f"{RAY_ACTOR_MODULE} {client_module(app)}",
        "RAY_num_workers_soft_limit": str(num_workers),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
    return spawn(launch, [sys.executable, "-P", hold_ray.__file__], environment)


def check_ray(head: "subprocess.Popen[str] | None") -> None:
    """Raise a `LaunchError` if a Ray that was started has ended."""
    if head is not None and head.poll() is not None:
        raise LaunchError(f"{_ENDED}, with status {head.returncode}; its last words are in the log")


def client_module(app: Path) -> str:
    """Return the module that holds an app's participants; nothing, if it names none."""
    config = tomllib.loads((app / "pyproject.toml").read_text(encoding="utf-8"))
    components = config["tool"]["flwr"]["app"].get("components", {})
    return str(components.get("clientapp", "")).partition(":")[0]
