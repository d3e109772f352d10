"""Find every process of one launch, wherever it went, and end it.

Flower and Ray start their processes in sessions of their own, so ending a process group is not
enough. Two marks find them all: an environment variable that children inherit, and being a
descendant of the launcher, which on Linux adopts its orphans. Neither suffices alone: some Ray
processes overwrite their environment with a title, and macOS has no adoption.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LAUNCH_ID_VARIABLE = "DELTA_FEDAVG_LAUNCH_ID"

_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Process:
    """What the process table says about one process.

    `marked` says whether its environment carries the launch id that was asked for.
    """

    pid: int
    parent: int
    command: str
    marked: bool


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def watch_over(launch_id: str, folder: Path) -> None:
    """Leave a watchdog behind that cleans up should the caller be killed outright.

    The watchdog waits for the end of a pipe that only the caller holds open, then ends what is
    left of the launch and removes its folder: nothing, normally. It is not a descendant of the
    caller, whose own clean-up must not end it. Call this before `adopt_orphans`.

    Args:
        launch_id: See `find_processes`.
        folder: Temporary folder of the launch.
    """
    read_end, _write_end = os.pipe()  # the write end stays open for as long as the caller lives
    child = os.fork()
    if child:
        os.close(read_end)
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)
    try:
        _stand_apart(read_end)
        while os.read(read_end, 1):
            pass
        end_processes(launch_id, grace=1.0)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(0)


def _stand_apart(kept: int) -> None:
    """Leave the session, its signals, its terminal, and every open file but one.

    A thread of the caller may be starting a process right now: it reads a pipe to the end, which
    would not come while a copy of the other end is open here.
    """
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    os.setsid()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)


def find_processes(launch_id: str, ancestor: int | None = None) -> list[Process]:
    """List the living processes of a launch, without the caller itself.

    Args:
        launch_id: Value of the environment variable that marks the launch.
        ancestor: Also count all descendants of this process, marked or not.

    Returns:
        The marked processes and all descendants of theirs, by process id.
    """
    table = {process.pid: process for process in _process_table(launch_id)}
    ours = {pid for pid, process in table.items() if process.marked}
    roots = ours | ({ancestor} if ancestor is not None else set())
    frontier = roots
    while frontier:
        frontier = {p.pid for p in table.values() if p.parent in frontier} - ours
        ours |= frontier
    return [table[pid] for pid in sorted(ours - {os.getpid(), ancestor})]


def send(processes: list[Process], signum: signal.Signals) -> None:
    """Send a signal to processes, of which some may be gone already."""
    for process in processes:
        try:
            os.kill(process.pid, signum)
        except (ProcessLookupError, PermissionError):
            continue


def end_processes(
    launch_id: str,
    ancestor: int | None = None,
    grace: float = 3.0,
    hurry: Callable[[], bool] = lambda: False,
) -> list[Process]:
    """End all processes of a launch: SIGTERM, then SIGKILL for what is left.

    Args:
        launch_id: See `find_processes`.
        ancestor: See `find_processes`.
        grace: Seconds between the two signals.
        hurry: Asked again and again; True ends the grace at once.

    Returns:
        The processes that survived even that; normally none.
    """
    left = find_processes(launch_id, ancestor)
    for signum, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        told: set[int] = set()
        while left and time.monotonic() < deadline:
            # A dying process can still start another, so look again each time.
            send([p for p in left if p.pid not in told], signum)
            told |= {p.pid for p in left}
            time.sleep(_POLL_SECONDS)
            left = find_processes(launch_id, ancestor)
            if signum is signal.SIGTERM and hurry():
                break
    return left


def reap_children(seconds: float = 1.0) -> None:
    """Collect dead children; one with threads may take a moment to die altogether."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):  # no children left
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)


def _process_table(launch_id: str) -> list[Process]:
    mark = f"{LAUNCH_ID_VARIABLE}={launch_id}"
    if sys.platform == "linux":
        return _table_from_proc(mark)
    listing = subprocess.run(
        ["ps", "-axEww", "-o", "pid=,ppid=,stat=,command="],
        capture_output=True,
        text=True,
        check=False,
    )
    return parse_ps(listing.stdout, mark)


def _table_from_proc(mark: str) -> list[Process]:
    table = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name, in parentheses, may hold anything; the fields follow the last one.
            state, parent = (
                (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            )
            if state == "Z":
                continue
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            marked = mark.encode() in _environment_of(folder)
        except OSError:  # it ended while we looked
            continue
        table.append(Process(int(folder.name), int(parent), command.strip(), marked))
    return table


def _environment_of(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except PermissionError:  # another user's process
        return []


def parse_ps(listing: str, mark: str) -> list[Process]:
    """Read `ps` output with the columns pid, ppid, stat and command with environment."""
    table = []
    for line in listing.splitlines():
        fields = line.split(maxsplit=3)
        if len(fields) == 4 and not fields[2].startswith("Z"):
            command = fields[3]
            table.append(Process(int(fields[0]), int(fields[1]), command, mark in command.split()))
    return table
