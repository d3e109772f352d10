"""A SuperLink of our own: private folder, free port, nothing shared with the user's Flower."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.processes.flower_cli import (
    HEALTH_PATH,
    HOME_VARIABLE,
    POLL_INTERVAL_VARIABLE,
    SUPEREXEC_PROCESS,
    SUPERLINK_PROCESS,
    TELEMETRY_VARIABLE,
    UPDATE_CHECK_VARIABLE,
    connection_toml,
    superexec_arguments,
)
from scripts.processes.preloaded_command import go, load_ahead
from scripts.processes.process_tree import LAUNCH_ID_VARIABLE

CONNECTION = "launcher"
# Where Flower joins a Ray that was started for it; looked up in its simulation process.
RUNTIME_ENV_HOOK = "fl_app.messaging.simulation.worker_environment"
_FOLDER_PREFIX = "dfa-"
_ABANDONED_AFTER_SECONDS = 24 * 3600.0
_ATTEMPTS = 3
_STARTUP_SECONDS = 60.0


class LaunchError(Exception):
    """The run could not be started, or did not succeed; the message is for the user."""


@dataclass(frozen=True)
class Launch:
    """The identity of one launch.

    Attributes:
        id: Marks every process of the launch.
        folder: Temporary home of its Flower configuration, Ray session and SuperLink log.
        ray_address: The Ray cluster to compute on; "local" lets Flower start one.
        own_ray: Whether that cluster is the launch's own, see `scripts.processes.ray_head`.
    """

    id: str
    folder: Path
    ray_address: str = "local"
    own_ray: bool = False

    @property
    def flower_home(self) -> Path:
        """The launch's own FLWR_HOME."""
        return self.folder / "flwr"

    @property
    def log(self) -> Path:
        """Where the SuperLink and its children write."""
        return self.folder / "superlink.log"

    @classmethod
    def create(cls, ray_address: str = "local", own_ray: bool = False) -> "Launch":
        """Make the folder of a new launch and sweep those of launches long dead.

        Args:
            ray_address: The Ray cluster to compute on.
            own_ray: Whether it is to be started at a port of this machine, ahead of Flower.
        """
        ray_address = f"127.0.0.1:{free_port()}" if own_ray else ray_address
        # Ray puts sockets below this folder, whose paths may have about 100 characters: so
        # neither a long name nor macOS's long TMPDIR.
        base = Path("/tmp")
        _sweep(base)
        prefix = f"{_FOLDER_PREFIX}{os.getpid()}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        launch = cls(secrets.token_hex(8), folder, ray_address, own_ray)
        launch.flower_home.mkdir()
        (launch.folder / "ray").mkdir()
        return launch

    def environment(self) -> dict[str, str]:
        """Return the environment of all processes of this launch."""
        # What we read of Flower's is plain text: FORCE_COLOR would colour even its JSON.
        colour = ("FORCE_COLOR", "TTY_COMPATIBLE")
        inherited = {name: text for name, text in os.environ.items() if name not in colour}
        # A user's proxy must not see, or break, what stays on this machine.
        no_proxy = ",".join(filter(None, [inherited.get("no_proxy"), "127.0.0.1,localhost"]))
        if self.own_ray:
            inherited["RAY_RUNTIME_ENV_HOOK"] = RUNTIME_ENV_HOOK
        return inherited | {
            LAUNCH_ID_VARIABLE: self.id,
            HOME_VARIABLE: str(self.flower_home),
            TELEMETRY_VARIABLE: "0",
            UPDATE_CHECK_VARIABLE: "1",
            # Flower's own second would be waited for with every message.
            POLL_INTERVAL_VARIABLE: inherited.get(POLL_INTERVAL_VARIABLE, "0.1"),
            "RAY_TMPDIR": str(self.folder / "ray"),
            # By default never one that runs already, whatever the user's RAY_ADDRESS says.
            "RAY_ADDRESS": self.ray_address,
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray's list of past tasks, which grows with every message and nobody looks at.
            "RAY_task_events_report_interval_ms": "0",
            # Clients that asked for no GPU see none. It is Ray's default, with a warning.
            "PYTHONWARNINGS": _with_ray_tip_silenced(inherited.get("PYTHONWARNINGS", "")),
            "PYTHONUNBUFFERED": "1",
            # Flower starts its commands by name.
            "PATH": os.pathsep.join([_commands(), inherited.get("PATH", os.defpath)]),
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def command(name: str) -> str:
    """Return the path of a Flower command of this very Python environment."""
    return str(Path(_commands()) / name)


def start_superlink(launch: Launch, cancelled: Callable[[], bool]) -> None:
    """Start a SuperLink, wait until it answers and write the connection to it.

    Args:
        launch: Whose SuperLink this is.
        cancelled: Asked while waiting; True ends the wait early and quietly.

    Raises:
        LaunchError: If it does not come up.
    """
    # What starts the app's processes. The SuperLink would start one itself, once it is up.
    superexec = spawn(launch, load_ahead(SUPEREXEC_PROCESS))
    for _ in range(_ATTEMPTS):
        port = free_port()
        process = spawn(launch, superlink_command(port))
        deadline = time.monotonic() + _STARTUP_SECONDS
        # It ends by itself if another process took the port in between: try the next.
        while process.poll() is None and not cancelled():
            if _answers(port):
                _write_connection(launch, port)
                go(superexec, *superexec_arguments(f"127.0.0.1:{port}", process.pid))
                return
            if time.monotonic() > deadline:
                raise LaunchError(f"the SuperLink did not answer within {_STARTUP_SECONDS:.0f} s")
            time.sleep(0.05)
        if cancelled():
            return
    raise LaunchError(f"the SuperLink ended at once, {_ATTEMPTS} times")


def superlink_command(port: int) -> list[str]:
    """Return the command of a SuperLink that simulates; its SuperExec is started apart."""
    arguments = [command(SUPERLINK_PROCESS), "--insecure", "--simulation"]
    arguments += ["--isolation", "process", "--disable-runtime-dependency-installation"]
    return [*arguments, "--host", "127.0.0.1", "--port", str(port)]


def spawn(
    launch: Launch, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start a process of a launch: it writes to the launch's log, and is told by a pipe.

    Args:
        launch: Whose process it is.
        arguments: Its command line.
        environment: What it has beyond the launch's, or instead.
    """
    with launch.log.open("ab") as log:
        return subprocess.Popen(
            arguments,
            env=launch.environment() | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on at an address of this machine."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{HEALTH_PATH}", timeout=1.0) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _write_connection(launch: Launch, port: int) -> None:
    (launch.flower_home / "config.toml").write_text(
        connection_toml(CONNECTION, f"127.0.0.1:{port}", "insecure = true"),
        encoding="utf-8",
    )


def _commands() -> str:
    return str(Path(sys.executable).parent)


def _with_ray_tip_silenced(filters: str) -> str:
    return ",".join(filter(None, [filters, "ignore:Tip:FutureWarning"]))


def _sweep(base: Path) -> None:
    """Remove the folders of launchers that were killed together with their watchdog."""
    for folder in base.glob(f"{_FOLDER_PREFIX}*-*"):
        pid = folder.name.removeprefix(_FOLDER_PREFIX).partition("-")[0]
        try:
            details = folder.lstat()
            # The age guards folders of a container that shares /tmp but not process ids.
            old = time.time() - details.st_mtime > _ABANDONED_AFTER_SECONDS
            if old and details.st_uid == os.getuid() and pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
