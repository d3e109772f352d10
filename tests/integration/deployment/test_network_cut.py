"""The network of a node is cut and mended; see `test_nodes_killed`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.real_run import Run, log_text, running_federation, wait_for_log

pytestmark = [pytest.mark.slow, pytest.mark.waiting, pytest.mark.timeout(900)]


class Cable(NamedTuple):
    """A network namespace, whose end of the cable on this machine has the address `here`."""

    namespace: str
    here: str

    def set(self, state: str) -> None:
        subprocess.run(["ip", "link", "set", f"{self.namespace}a", state], check=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    """A network namespace joined to this machine."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("cutting a network needs root and the command ip (iproute2)")
    # Names and addresses of this process alone: somebody else may be cutting a cable as well.
    name = f"dfa{os.getpid()}"
    net = f"10.203.{os.getpid() // 64 % 256}"
    here, there = (f"{net}.{os.getpid() % 64 * 4 + host}" for host in (1, 2))
    ours, theirs = f"{name}a", f"{name}b"
    inside = f"ip netns exec {name} ip"
    try:
        for command in (
            f"ip netns add {name}",
            f"ip link add {ours} type veth peer name {theirs} netns {name}",
            f"ip addr add {here}/30 dev {ours}",
            f"ip link set {ours} up",
            f"{inside} addr add {there}/30 dev {theirs}",
            f"{inside} link set {theirs} up",
            f"{inside} link set lo up",
        ):
            made = subprocess.run(command.split(), capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"no network namespaces here: {command}: {made.stderr.strip()}")
        yield Cable(name, here)
    finally:
        subprocess.run(["ip", "link", "del", ours], capture_output=True)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_a_cut_network_is_missed_and_welcome_when_it_is_mended(
    cable: Cable, tmp_path: Path
) -> None:
    inside = ["ip", "netns", "exec", cable.namespace]
    with running_federation(tmp_path / "state", bind=cable.here, prefix=inside) as federation:
        run = Run(federation, tmp_path / "out", num_server_rounds=99, round_deadline=0.0)
        wait_for_log(federation, "node-1", "Receiving: train message")
        cable.set("down")
        run.wait_for(r" 1 of 2 participants")
        assert "Node Unavailable" in str(run.participants()[0]["1"])
        cable.set("up")

        run.wait_for(r" 2 of 2 participants")

        assert run.participants()[-1] == {"0": None, "1": None}, run.log
        assert log_text(federation, "node-1").count("SuperNode ID") == 1  # never restarted
        run.abandon()
