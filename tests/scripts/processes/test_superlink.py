"""A launch: its folder, its environment, the sweep of old ones."""

import importlib
import os
import shutil
import subprocess
from pathlib import Path

from scripts.launcher.options import plan_launch
from scripts.processes.clean_up import keep_logs
from scripts.processes.superlink import Launch, _sweep


def test_a_launch_is_private_and_short_enough_for_sockets() -> None:
    launch = Launch.create()
    try:
        assert launch.folder.stat().st_mode & 0o077 == 0
        assert len(str(launch.folder)) < 30
        assert launch.environment()["FLWR_HOME"] == str(launch.flower_home)
        assert keep_logs(launch, launch.log) is None
    finally:
        launch.remove()
    assert not launch.folder.exists()


def test_logs_that_are_kept_are_for_nobody_else_to_read(tmp_path: Path) -> None:
    launch = Launch.create()
    logs = launch.folder / "logs"
    logs.mkdir()
    (logs / "north.log").write_text("/data/jane-doe.png is damaged")
    (logs / "north.log").chmod(0o644)

    kept = keep_logs(launch, logs)
    launch.remove()

    assert kept is not None
    try:
        assert (kept / "north.log").read_text() == "/data/jane-doe.png is damaged"
        for folder in (kept, kept.parent):
            assert folder.stat().st_mode & 0o777 == 0o700
        assert (kept / "north.log").stat().st_mode & 0o777 == 0o600
    finally:
        shutil.rmtree(kept.parent)


def test_only_old_folders_of_dead_launchers_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = {
        "old": f"dfa-{dead.pid}-a",
        "new": f"dfa-{dead.pid}-b",
        "alive": f"dfa-{os.getpid()}-c",
    }
    for name in names.values():
        (tmp_path / name).mkdir()
    for name in (names["old"], names["alive"]):
        os.utime(tmp_path / name, (0, 0))

    _sweep(tmp_path)

    assert {folder.name for folder in tmp_path.iterdir()} == {names["new"], names["alive"]}


def test_a_run_joins_a_ray_cluster_only_if_told_to(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")

    def ray_address(*options: str) -> str:
        launch = Launch.create(plan_launch(options, tmp_path).ray_address)
        launch.remove()
        return launch.environment()["RAY_ADDRESS"]

    assert ray_address() == "local"
    assert ray_address("--ray-address", "10.0.0.2:6379") == "10.0.0.2:6379"


def test_flower_joins_the_ray_that_was_started_for_it(monkeypatch):
    launch = Launch.create("local", own_ray=True)
    launch.remove()
    environment = launch.environment()
    host, _, port = environment["RAY_ADDRESS"].rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    module, _, function = environment["RAY_RUNTIME_ENV_HOOK"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), function))


def test_colours_that_the_user_forces_are_not_forced_on_what_is_read_of_flower(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.setenv(name, "1")
    launch = Launch.create()
    launch.remove()
    assert not {"FORCE_COLOR", "TTY_COMPATIBLE"} & launch.environment().keys()
