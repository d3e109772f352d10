"""A real federation over TLS, and what becomes of a run when parts of it fail.

One SuperLink serves all tests of the module, in the order in which they stand here; each
leaves it with its two nodes connected.
"""

import contextlib
import datetime
import http.client
import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.deployment.cluster import Federation
from scripts.deployment.key_material import make_authority, make_node_key, make_server
from scripts.deployment.plan import Node
from scripts.processes.process_tree import find_processes
from tests.conftest import small_run_config
from tests.support.local_run import run_app, summary_of
from tests.support.real_run import NODES, PATIENCE, QUICK, Run, kill, log_text, running_federation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.waiting,
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("state")) as federation:
        yield federation


def simulated_weights(rounds: int, folder: Path) -> str:
    """Return the SHA-256 of the weights after an uninterrupted run in this process."""
    config = small_run_config(folder) | QUICK | {"num-server-rounds": rounds}
    weights: str = summary_of(run_app(config))["sha256"]["weights"]
    return weights


def refused(federation: Federation, name: str, **changes: Any) -> str:
    """Start a node that must end by itself; return what it said."""
    process = federation.start_node(Node(name, {}), **changes)
    assert process.wait(PATIENCE) != 0, federation.last_words(name)
    return federation.last_words(name, 40)


def test_processes_give_the_weights_of_a_simulation_while_strangers_are_refused(
    federation: Federation, tmp_path: Path
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
    summary = summary_of(run.directory)
    assert summary["sha256"]["weights"] == simulated_weights(2, tmp_path)
    assert summary["failures"] == 0


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


def test_after_a_killed_server_app_and_a_killed_superlink_a_run_is_resumed_to_the_same_weights(
    federation: Federation, tmp_path: Path
) -> None:
    results = tmp_path / "out"
    run = Run(federation, results, num_server_rounds=3)
    run.wait_for(r"round 1/3 \|")
    (app,) = [p for p in find_processes(federation.launch.id) if "flwr-serverapp" in p.command]
    os.kill(app.pid, signal.SIGKILL)
    assert run.finish() == "finished:failed", run.log

    resumed = Run(federation, results, num_server_rounds=3, resume=str(run.directory))
    resumed.wait_for(r"round 2/3 \|")
    assert federation.superlink is not None
    kill(federation, federation.superlink)
    resumed.abandon()

    # Its nodes come back by themselves.
    federation.start_superlink(lambda: False, federation.port)
    last = Run(federation, results, num_server_rounds=3, resume=str(run.directory))
    assert last.finish() == "finished:completed", last.log
    summary = summary_of(run.directory)
    assert summary["rounds"] == 3
    assert summary["sha256"]["weights"] == simulated_weights(3, tmp_path)
