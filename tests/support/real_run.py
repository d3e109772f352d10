"""Runs of the real app on a real federation, and ways to hurt it."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.deployment.cluster import Federation
from scripts.deployment.federation import outcome, submit
from scripts.deployment.plan import FederationPlan, Node
from scripts.launcher.run_config import Value
from scripts.processes.flower_cli import POLL_INTERVAL_VARIABLE
from scripts.processes.process_tree import end_processes, find_processes
from scripts.processes.superlink import Launch
from scripts.repository import REPOSITORY

NODES = tuple(Node(f"node-{i}", {"partition-id": i, "num-partitions": 2}) for i in range(2))
QUICK: dict[str, Value] = {
    "num-server-rounds": 2,
    "num-participants": 2,
    "local-epochs": 1,
    "dataset": "digits",
    "fraction-evaluate": 0.0,  # a message less per round and node, and as much less to wait
    "round-deadline": 240.0,
}
PATIENCE = 400.0  # seconds; a busy machine is slow, and only what hangs waits so long


class Run:
    """A run under way, and its log."""

    def __init__(self, federation: Federation, results: Path, **changes: Value) -> None:
        self.results = results
        overrides = QUICK | {"output-dir": str(results)}
        overrides |= {key.replace("_", "-"): value for key, value in changes.items()}
        plan = FederationPlan(REPOSITORY, overrides, NODES, (), None, False)
        self._federation = federation
        self._lines: list[str] = []
        self._process = submit(federation, plan)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            self._lines.extend(stream)

    @property
    def log(self) -> str:
        return "".join(self._lines)

    @property
    def directory(self) -> Path:
        (directory,) = self.results.iterdir()
        return directory

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> str:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.log)):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)
        return found[found.lastindex or 0]

    def finish(self, seconds: float = PATIENCE) -> str:
        """Wait for the end; return the run's status."""
        self._process.wait(seconds)
        self._reader.join()
        return outcome(self._federation, self.wait_for(r"started run (\d+)"))[0]

    def abandon(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def participants(self) -> list[dict[str, str | None]]:
        """For each round after the first evaluation: who was asked, and why it failed."""
        rows = map(json.loads, (self.directory / "metrics.jsonl").read_text().splitlines())
        rounds: dict[int, dict[str, str | None]] = {}
        for row in rows:
            if row["kind"] == "participant":
                rounds.setdefault(row["server_round"], {})[row["participant"]] = row["failure"]
        return [rounds[number] for number in sorted(rounds)]


@contextmanager
def running_federation(
    state: Path, bind: str = "127.0.0.1", prefix: Sequence[str] = ()
) -> Iterator[Federation]:
    """A SuperLink and two nodes, all ended afterwards.

    Args:
        state: The state folder to make.
        bind: Where the SuperLink listens.
        prefix: A command that starts the second node.
    """
    launch = Launch.create()
    federation = Federation(launch, state, [bind], bind)
    with pytest.MonkeyPatch.context() as patch:
        # To look for work ten times a second is work itself, in each of a dozen processes.
        patch.setenv(POLL_INTERVAL_VARIABLE, "0.5")
        try:
            federation.start_superlink(lambda: False)
            federation.register(NODES)
            federation.start_node(NODES[0])
            federation.start_node(NODES[1], prefix=prefix)
            for node in NODES:
                wait_for_log(federation, node.name, r"SuperNode ID: \d+")
            yield federation
        finally:
            left = end_processes(launch.id)
            federation.wait()
            launch.remove()
    assert not left, left


def kill(federation: Federation, *processes: "subprocess.Popen[bytes]") -> None:
    """Kill processes and everything below them at once, as a power cut would."""
    table = find_processes(federation.launch.id)
    doomed = {process.pid for process in processes}
    while more := {p.pid for p in table if p.parent in doomed} - doomed:
        doomed |= more
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for process in processes:
        process.wait()


def wait_for_log(federation: Federation, name: str, pattern: str, since: int = 0) -> str:
    deadline = time.monotonic() + PATIENCE
    while not (found := re.search(pattern, log_text(federation, name)[since:])):
        assert time.monotonic() < deadline, federation.last_words(name)
        time.sleep(0.1)
    return found[0]


def log_text(federation: Federation, name: str) -> str:
    return federation.log_of(name).read_text(errors="replace")


def start_again(federation: Federation, *nodes: Node, seconds: float = PATIENCE) -> None:
    """Start nodes until they are connected, as systemd would.

    Flower refuses a node as long as it believes that its predecessor is alive.
    """
    deadline = time.monotonic() + seconds
    marks = {}
    waiting = list(nodes)
    while waiting:
        for node in list(waiting):
            process = federation.nodes.get(node.name)
            if node.name not in marks or process is None or process.poll() is not None:
                marks[node.name] = len(log_text(federation, node.name))
                federation.start_node(node)
            elif re.search(
                r"SuperNode ID: \d+", log_text(federation, node.name)[marks[node.name] :]
            ):
                waiting.remove(node)
        assert time.monotonic() < deadline, federation.last_words(waiting[0].name)
        time.sleep(1.0)
