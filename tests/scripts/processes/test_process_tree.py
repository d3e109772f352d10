"""Processes are found by their launch and ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.processes.process_tree import (
    LAUNCH_ID_VARIABLE,
    end_processes,
    find_processes,
    parse_ps,
)

pytestmark = pytest.mark.slow


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


def test_a_watchdog_holds_no_pipe_of_its_caller_open(tmp_path: Path) -> None:
    folder = tmp_path / "launch"
    folder.mkdir()
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from scripts.processes.process_tree import watch_over\n"
        "read_end, write_end = os.pipe()\n"
        "watch_over('a launch without processes', Path(sys.argv[1]))\n"
        "os.close(write_end)\n"
        "print('rest:', os.read(read_end, 1))\n"
    )

    command = [sys.executable, "-c", script, str(folder)]
    reply = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert reply.stdout == "rest: b''\n", reply.stderr
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:  # what the watchdog is for
        time.sleep(0.05)
    assert not folder.exists()
