"""What each part of a simulation uses: memory and processor time (Linux)."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from scripts.processes.flower_cli import SIMULATION_PROCESS, SUPEREXEC_PROCESS, SUPERLINK_PROCESS
from scripts.processes.process_tree import Process

SERVER, SUPERLINK, WORKERS, RAY = "server app and engine", "SuperLink", "Ray workers", "rest of Ray"
ROLES = (SERVER, SUPERLINK, WORKERS, RAY)

_WRITTEN = ("Anonymous", "Pss_Shmem")


def role_of(command: str) -> str | None:
    """Return which part of a simulation a process is, by its command line; `None` if none."""
    if command.startswith("ray::"):
        return WORKERS if "Actor" in command or "IDLE" in command else RAY
    for part, role in (
        (SIMULATION_PROCESS, SERVER),
        (SUPERLINK_PROCESS, SUPERLINK),
        (SUPEREXEC_PROCESS, SUPERLINK),
        ("hold_ray", RAY),
        ("gcs_server", RAY),
        ("raylet", RAY),
        ("/ray/", RAY),
    ):
        if part in command:
            return role
    return None


def memory_by_role(processes: Iterable[Process]) -> dict[str, float]:
    """Return the memory of each role, in MB.

    Counted is what is written: heaps, and the shared memory of Ray's object store in
    proportion. Program files that are mapped count for nothing, because what of them is shared
    with other processes of the machine depends on those.
    """
    return _by_role(processes, _written_megabytes)


def cpu_by_role(processes: Iterable[Process]) -> dict[str, float]:
    """Return the processor seconds that each role has used so far: of those that live."""
    return _by_role(processes, _cpu_seconds)


def _by_role(processes: Iterable[Process], usage: Callable[[int], float]) -> dict[str, float]:
    totals = dict.fromkeys(ROLES, 0.0)
    for process in processes:
        role = role_of(process.command)
        if role is not None:
            totals[role] += usage(process.pid)
    return totals


def _cpu_seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:  # it ended meanwhile
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _written_megabytes(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it ended meanwhile
        return 0.0
    fields = dict(line.split(":", 1) for line in text.splitlines()[1:] if ":" in line)
    kilobytes = (int(fields[name].split()[0]) for name in _WRITTEN if name in fields)
    return sum(kilobytes) * 1024 / 1e6
