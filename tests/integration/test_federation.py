"""A real federation over TLS, and what becomes of a run when parts of it fail.

One SuperLink serves all tests of the module, in the order in which they stand here; each
leaves it with its two nodes connected.
"""

import contextlib
import datetime
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.federation_plan import Node
from scripts.key_material import make_authority, make_node_key, make_server
from scripts.local_superlink import Launch
from scripts.processes import end_processes, find_processes
from scripts.real_federation import Federation
from scripts.run_settings import REPOSITORY
from tests.local_run import run_app, summary_of
from tests.real_run import NODES, QUICK, Run, kill, log_text, start_again, wait_for_log

pytestmark = [pytest.mark.slow, pytest.mark.simulation, pytest.mark.timeout(400)]

HERE, THERE = "10.203.17.1", "10.203.17.2"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    launch = Launch.create()
    federation = Federation(launch, tmp_path_factory.mktemp("state"))
    try:
        federation.start_superlink(lambda: False)
        federation.register(NODES)
        for node in NODES:
            federation.start_node(node)
        yield federation
    finally:
        end_processes(launch.id)
        federation.wait()
        launch.remove()


@pytest.fixture(scope="module")
def simulated_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The SHA-256 of the weights after an uninterrupted run in this process."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        defaults: dict[str, Any] = tomllib.load(file)["tool"]["flwr"]["app"]["config"]
    results = str(tmp_path_factory.mktemp("simulated"))
    weights: str = summary_of(run_app(defaults | QUICK | {"output-dir": results}))["sha256"][
        "weights"
    ]
    return weights


def refused(federation: Federation, name: str, **changes: Any) -> str:
    """Start a node that must end by itself; return what it said."""
    process = federation.start_node(Node(name, {}), **changes)
    assert process.wait(60.0) != 0, federation.last_words(name)
    return federation.last_words(name, 40)


def test_processes_give_the_weights_of_a_simulation_while_strangers_are_refused(
    federation: Federation, tmp_path: Path, simulated_weights: str
) -> None:
    run = Run(federation, tmp_path / "out")

    stranger, _ = make_node_key(tmp_path, "stranger")
    assert "Failed to activate SuperNode" in refused(federation, "unregistered", key=stranger)
    assert "No SuperNode found with the given public key" in log_text(federation, "superlink")

    garbage = tmp_path / "garbage.key"
    garbage.write_text("not a key")
    assert "Unable to parse the private key file" in refused(federation, "garbled", key=garbage)

    other_ca, _ = make_authority(tmp_path / "ca")
    said = refused(federation, "wrong-ca", ca_certificate=other_ca, key=stranger)
    assert "certificate verify failed" in said

    assert run.finish() == "finished:completed", run.log
    assert summary_of(run.directory)["sha256"]["weights"] == simulated_weights
    assert summary_of(run.directory)["failures"] == 0


def test_plain_text_gets_no_answer_from_the_tls_port(federation: Federation) -> None:
    host, port = federation.address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5.0)
    connection.request("GET", "/health")
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    connection.close()


def test_an_expired_certificate_is_refused_by_the_node(
    federation: Federation, tmp_path: Path
) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=9)
    certificate, key = make_server(tmp_path, federation.state.authority, [], days=1, start=past)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def shake_hands() -> None:
        with contextlib.suppress(OSError):  # the node hangs up
            while True:
                with contextlib.suppress(ssl.SSLError):
                    context.wrap_socket(listener.accept()[0], server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=shake_hands, daemon=True).start()
        said = refused(
            federation,
            "expired",
            address=f"127.0.0.1:{listener.getsockname()[1]}",
            key=federation.state.node_key(NODES[0].name),
        )
    assert "certificate has expired" in said


@pytest.mark.thorough
def test_nodes_killed_come_back_go_for_good_and_the_run_is_resumed(
    federation: Federation, tmp_path: Path
) -> None:
    mark = len(log_text(federation, "node-1"))
    run = Run(federation, tmp_path, num_server_rounds=99, round_deadline=20.0, quorum_deadline=3.0)
    # Killed in training: the round goes on without it.
    wait_for_log(federation, "node-1", "Receiving: train message", mark)
    kill(federation, federation.nodes["node-1"])
    run.wait_for(r"round +1/99 \|.* 1 of 2 participants")
    # Started again and again, it is let in when Flower has noticed; under its old name.
    start_again(federation, NODES[1])
    run.wait_for(r"2 of 2 participants")
    asked = run.participants()
    assert asked[0]["0"] is None
    assert "no reply within the deadline" in str(asked[0]["1"])
    assert asked[-1] == {"0": None, "1": None}

    # All of them end: so does the run, with a sentence.
    for process in federation.nodes.values():
        process.terminate()
        process.wait()
    assert run.finish() == "finished:failed", run.log
    assert "run stopped: 0 of the 1 participants needed are connected (none)" in run.log
    assert "Traceback" not in run.log

    start_again(federation, *NODES)
    done = summary_of(run.directory)["rounds"]
    resumed = Run(federation, tmp_path, resume=str(run.directory), num_server_rounds=done + 1)
    assert resumed.finish() == "finished:completed", resumed.log
    assert summary_of(run.directory)["rounds"] == done + 1


def test_a_killed_server_app_is_resumed_to_the_same_weights(
    federation: Federation, tmp_path: Path, simulated_weights: str
) -> None:
    run = Run(federation, tmp_path)
    run.wait_for(r"round 1/2 \|")
    (app,) = [p for p in find_processes(federation.launch.id) if "flwr-serverapp" in p.command]
    os.kill(app.pid, signal.SIGKILL)

    assert run.finish() == "finished:failed", run.log

    resumed = Run(federation, tmp_path, resume=str(run.directory))
    assert resumed.finish() == "finished:completed", resumed.log
    assert summary_of(run.directory)["sha256"]["weights"] == simulated_weights


@pytest.mark.thorough
def test_a_killed_superlink_comes_back_with_its_nodes_and_the_run_is_resumed(
    federation: Federation, tmp_path: Path, simulated_weights: str
) -> None:
    run = Run(federation, tmp_path)
    run.wait_for(r"round 1/2 \|")
    assert federation.superlink is not None
    kill(federation, federation.superlink)
    run.abandon()

    federation.start_superlink(lambda: False, federation.port)
    resumed = Run(federation, tmp_path, resume=str(run.directory))

    assert resumed.finish() == "finished:completed", resumed.log
    assert summary_of(run.directory)["sha256"]["weights"] == simulated_weights


@pytest.fixture
def cable() -> Iterator[str]:
    """A network namespace joined to this machine by a cable; the name of our end of it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("cutting a network needs root and the command ip (iproute2)")
    name = f"dfa{os.getpid()}"
    ours, theirs = f"{name}a", f"{name}b"
    inside = f"ip netns exec {name} ip"
    try:
        for command in (
            f"ip netns add {name}",
            f"ip link add {ours} type veth peer name {theirs} netns {name}",
            f"ip addr add {HERE}/30 dev {ours}",
            f"ip link set {ours} up",
            f"{inside} addr add {THERE}/30 dev {theirs}",
            f"{inside} link set {theirs} up",
            f"{inside} link set lo up",
        ):
            made = subprocess.run(command.split(), capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"no network namespaces here: {command}: {made.stderr.strip()}")
        yield name
    finally:
        subprocess.run(["ip", "link", "del", ours], capture_output=True)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.thorough
def test_a_cut_network_is_missed_and_welcome_when_it_is_mended(cable: str, tmp_path: Path) -> None:
    launch = Launch.create()
    federation = Federation(launch, tmp_path / "state", [HERE], bind=HERE)
    try:
        federation.start_superlink(lambda: False)
        federation.register(NODES)
        federation.start_node(NODES[0])
        federation.start_node(NODES[1], prefix=["ip", "netns", "exec", cable])
        run = Run(federation, tmp_path / "out", num_server_rounds=3, round_deadline=25.0)
        wait_for_log(federation, "node-1", "Receiving: train message")
        subprocess.run(["ip", "link", "set", f"{cable}a", "down"], check=True)
        run.wait_for(r"round 1/3 \|.* 1 of 2 participants")
        subprocess.run(["ip", "link", "set", f"{cable}a", "up"], check=True)

        assert run.finish() == "finished:completed", run.log

        assert run.participants()[-1] == {"0": None, "1": None}, run.log
        assert log_text(federation, "node-1").count("SuperNode ID") == 1  # never restarted
    finally:
        end_processes(launch.id)
        federation.wait()
        launch.remove()
