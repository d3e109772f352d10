"""The launcher without launching: options, configuration, processes."""

import ast
import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from scripts.launcher.app_bundle import stage_app
from scripts.launcher.options import LaunchPlan, UsageError, Value, as_toml, plan_launch
from scripts.launcher.simulate import main
from scripts.processes.preloaded_command import go, load_ahead
from scripts.processes.process_tree import (
    LAUNCH_ID_VARIABLE,
    end_processes,
    find_processes,
    parse_ps,
)
from scripts.processes.ray_head import check_ray
from scripts.processes.superlink import Launch, LaunchError, _sweep
from scripts.repository import REPOSITORY

# Flower's command line imports what its own dependency deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")

APP_CONFIG = """
[project]
name = "toy"
version = "0.1.0"
[tool.flwr.app]
publisher = "toy"
[tool.flwr.app.components]
serverapp = "toy:server"
clientapp = "toy:client"
[tool.flwr.app.config]
num-server-rounds = 7
num-participants = 4
local-epochs = 2
learning-rate = 0.5
model = "m"
data-dir = ""
output-dir = ""
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(APP_CONFIG, encoding="utf-8")
    return folder


def plan(app: Path, *arguments: str) -> LaunchPlan:
    return plan_launch(["--app", str(app), *arguments], app.parent)


def test_the_quick_preset_is_the_default(app: Path) -> None:
    quick = tomllib.loads((REPOSITORY / "scripts/presets/quick.toml").read_text(encoding="utf-8"))

    assert plan(app).overrides == quick | {"output-dir": str(REPOSITORY / "results")}
    assert plan(app) == plan(app, "--preset", "quick")


def test_reference_is_short_for_the_reference_preset(app: Path) -> None:
    assert plan(app, "--reference") == plan(app, "--preset", "reference")
    assert plan(app, "--reference").overrides["num-server-rounds"] == 10
    assert plan(app, "--reference").overrides["local-epochs"] == 10


def test_a_later_override_wins_over_an_earlier_one_and_over_the_preset(app: Path) -> None:
    overrides = plan(app, "-c", "local-epochs=5 model='a b'", "-c", "local-epochs=6").overrides

    assert overrides["local-epochs"] == 6
    assert overrides["model"] == "a b"


def test_a_toml_file_and_pairs_can_be_combined(app: Path) -> None:
    (app.parent / "mine.toml").write_text("local-epochs = 5\nlearning-rate = 0.1\n")

    overrides = plan(app, "-c", "mine.toml", "--run-config", "learning-rate=0.2").overrides

    assert overrides["local-epochs"] == 5
    assert overrides["learning-rate"] == 0.2


def test_supernodes_follow_the_number_of_participants_however_it_is_set(app: Path) -> None:
    assert plan(app).num_supernodes == 4
    assert plan(app, "-c", "num-participants=6").num_supernodes == 6
    by_name = plan(app, "--participants", "8", "-c", "num-participants=6")
    assert by_name.num_supernodes == by_name.overrides["num-participants"] == 8


def test_relative_paths_are_those_of_the_users_folder(app: Path) -> None:
    overrides = plan(app, "--output-dir", "out", "-c", "data-dir='../d'").overrides

    assert overrides["output-dir"] == str(app.parent / "out")
    assert overrides["data-dir"] == str(app.parent.parent / "d")


def test_resources_reach_the_federation_config(app: Path) -> None:
    config = plan(app, "--gpus-per-client", "0.25").federation_config

    assert config == ("num-supernodes=4 client-resources-num-cpus=1 client-resources-num-gpus=0.25")


def test_unknown_arguments_go_to_flwr_run(app: Path) -> None:
    assert plan(app, "--federation", "@me/f").flwr_arguments == ("--federation", "@me/f")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "num-server-round=1"], "did you mean 'num-server-rounds'"),
        (["-c", "zzz=1"], "the keys are num-server-rounds, "),
        (["-c", "model=simple-cnn"], "texts in double quotes"),
        (["-c", "local-epochs 3"], "not of the form key=value"),
        (["-c", "missing.toml"], "cannot read .*missing.toml: No such file"),
        (["--cpus-per-client", "100000"], "more than this machine's"),
        (["--app", "nowhere"], "holds no Flower app"),
    ],
)
def test_a_mistake_is_told_in_one_line(app: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        plan(app, *arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", ["--participants", "--cpus-per-client"])
def test_counts_start_at_one(app: Path, option: str) -> None:
    with pytest.raises(SystemExit) as ending:
        plan(app, option, "0")
    assert ending.value.code == 2


def test_the_run_config_itself_is_checked_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["-c", "learning-rate=-1.0"]) == 2

    error = capsys.readouterr().err
    assert "learning-rate" in error
    assert "Traceback" not in error


def test_only_what_the_app_consists_of_is_staged(app: Path, tmp_path: Path) -> None:
    assert stage_app(app, tmp_path / "staged") == app

    config = APP_CONFIG.replace('"toy"\n[tool', '"toy"\nfab-include = ["toy/**/*.py"]\n[tool')
    (app / "pyproject.toml").write_text(config, encoding="utf-8")
    for name in ("toy/a.py", "toy/deep/b.py", ".venv/toy/c.py"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).touch()

    staged = stage_app(app, tmp_path / "staged")

    files = {path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()}
    assert files == {"pyproject.toml", "toy/a.py", "toy/deep/b.py"}


def test_toml_round_trips_any_text() -> None:
    values: dict[str, Value] = {
        "a": 'quote " \\ \n\t\x7f é 🌸',
        "b": True,
        "c": -3,
        "d": 1e-05,
        "e": 2.0,
    }

    assert tomllib.loads(as_toml(values)) == values


def start_orphan(launch_id: str) -> int:
    """Start a `sleep` whose parent is gone and whose session is its own."""
    script = (
        "import os, subprocess\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid, flush=True)\n"
        "os._exit(0)\n"
    )
    environment = os.environ | {LAUNCH_ID_VARIABLE: launch_id}
    reply = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
    return int(reply)


def test_an_orphan_in_another_session_is_found_by_its_mark_and_ended() -> None:
    launch_id = f"test-{os.getpid()}-{time.monotonic_ns()}"
    pid = start_orphan(launch_id)

    assert [process.pid for process in find_processes(launch_id)] == [pid]
    assert end_processes(launch_id) == []
    assert find_processes(launch_id) == []


def test_another_launch_is_left_alone() -> None:
    mine, other = (f"test-{os.getpid()}-{time.monotonic_ns()}-{n}" for n in "ab")
    pid = start_orphan(other)
    try:
        end_processes(mine)
        assert [process.pid for process in find_processes(other)] == [pid]
    finally:
        end_processes(other)


def test_a_process_deaf_to_sigterm_is_killed() -> None:
    launch_id = f"test-{os.getpid()}-{time.monotonic_ns()}"
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", script + "time.sleep(60)"],
        env=os.environ | {LAUNCH_ID_VARIABLE: launch_id},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()

    assert end_processes(launch_id, grace=0.3) == []
    assert process.wait() == -signal.SIGKILL


def test_descendants_count_even_when_unmarked() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        found = {p.pid for p in find_processes("no-such-launch", ancestor=os.getpid())}
        assert process.pid in found
        assert os.getpid() not in found
    finally:
        process.kill()
        process.wait()


def test_ps_output_is_read_and_zombies_are_left_out() -> None:
    mark = f"{LAUNCH_ID_VARIABLE}=x"
    listing = (
        f"  10     1 Ss   python a.py HOME=/ {mark} B=1\n  11    10 Z    (sleep)\n  12 10 S sh\n"
    )

    table = parse_ps(listing, mark)

    assert [(process.pid, process.parent, process.marked) for process in table] == [
        (10, 1, True),
        (12, 10, False),
    ]


def test_a_launch_is_private_and_short_enough_for_sockets() -> None:
    launch = Launch.create()
    try:
        assert launch.folder.stat().st_mode & 0o077 == 0
        assert len(str(launch.folder)) < 30
        assert launch.environment()["FLWR_HOME"] == str(launch.flower_home)
        assert launch.rescue_log() is None
    finally:
        launch.remove()
    assert not launch.folder.exists()


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


def test_resume_takes_the_settings_of_the_run_and_no_preset(app: Path) -> None:
    run = app.parent / "run"
    run.mkdir()
    (run / "config.json").write_text('{"run-config": {"local-epochs": 3, "model": "old"}}')
    config = app / "pyproject.toml"
    config.write_text(config.read_text() + 'resume = ""\n')

    overrides = plan(app, "--resume", "run", "-c", "num-server-rounds=9").overrides

    assert overrides["local-epochs"] == 3
    assert overrides["model"] == "old"
    assert overrides["num-server-rounds"] == 9
    assert overrides["resume"] == str(run)


def test_resume_of_what_is_no_run_is_refused(app: Path) -> None:
    with pytest.raises(UsageError, match="is not the directory of a run"):
        plan(app, "--resume", str(app))


def test_a_run_joins_a_ray_cluster_only_if_told_to(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")

    def ray_address(*options: str) -> str:
        launch = Launch.create(plan_launch(options, tmp_path).ray_address)
        launch.remove()
        return launch.environment()["RAY_ADDRESS"]

    assert ray_address() == "local"
    assert ray_address("--ray-address", "10.0.0.2:6379") == "10.0.0.2:6379"


def test_a_cluster_may_have_more_cores_than_this_machine(tmp_path):
    many = str((os.cpu_count() or 1) + 1)
    with pytest.raises(UsageError, match="more than this machine's"):
        plan_launch(["--cpus-per-client", many], tmp_path)
    plan = plan_launch(["--cpus-per-client", many, "--ray-address", "h:1"], tmp_path)
    assert plan.cpus_per_client == int(many)


@pytest.mark.parametrize(("name", "shown"), [("flwr", "Flower "), ("flower-superexec", "Flower v")])
@pytest.mark.parametrize("told", ["go --version\n", "", "stop --version\n"])
def test_a_command_of_flowers_runs_only_when_it_is_told_to(name, shown, told):
    done = subprocess.run(load_ahead(name), input=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (shown in done.stdout) == (told == "go --version\n")


def test_what_a_command_is_told_arrives_as_it_was_said():
    script = "import sys; print(repr(sys.stdin.readline()))"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    go(process, "--path", "a 'b'")
    assert process.stdout is not None
    with process.stdout as stdout:
        line = ast.literal_eval(stdout.read())
    assert process.wait() == 0
    assert shlex.split(line) == ["go", "--path", "a 'b'"]


def test_ray_is_started_ahead_where_it_is_ours_to_start(tmp_path):
    assert plan_launch([], tmp_path).ray_ahead
    assert not plan_launch(["--ray-address", "h:1"], tmp_path).ray_ahead
    own_size = ["--federation-config", "init-args-num-cpus=1"]
    assert not plan_launch(own_size, tmp_path).ray_ahead


def test_as_many_workers_are_kept_as_clients_are_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert plan_launch([], tmp_path).num_workers == 7
    assert plan_launch(["--cpus-per-client", "2"], tmp_path).num_workers == 3


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


def test_a_ray_that_has_ended_is_told_in_a_sentence():
    check_ray(None)
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], text=True)
    process.wait()
    with pytest.raises(LaunchError, match=r"Ray.* ended early, with status 3"):
        check_ray(process)
