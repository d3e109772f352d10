"""Two Ray nodes, as two machines would be: one run computes on both."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.launcher.app_bundle import stage_app
from scripts.processes.process_tree import LAUNCH_ID_VARIABLE, end_processes, find_processes
from scripts.repository import REPOSITORY
from tests.integration.simulation.test_simulation import finish, launch, only_run
from tests.support.local_run import run_app, summary_of

pytestmark = [pytest.mark.slow, pytest.mark.simulation, pytest.mark.timeout(900)]

# The real participant, that leaves a note of the Ray node it works on.
NOTING_CLIENT = """
from pathlib import Path
import ray
from flwr.clientapp import ClientApp
from fl_app.client_app import client_fn
from fl_app.messaging.client_mods import give_up_at_deadline, report_failures

def note(message, context, call_next):
    if message.metadata.message_type == "train":
        node = ray.get_runtime_context().get_node_id()
        (Path({notes!r}) / f"{{node}}-{{context.node_config['partition-id']}}").touch()
    return call_next(message, context)

app = ClientApp(client_fn, mods=[report_failures, give_up_at_deadline, note])
"""


@pytest.fixture
def cluster() -> Iterator[str]:
    """Start a head and a second node with a CPU each; return the head's address."""
    mark = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets: a short path
    environment = os.environ | {LAUNCH_ID_VARIABLE: mark, "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("RAY_ADDRESS", None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"

    def start(*arguments: str) -> None:
        ray = Path(sys.executable).with_name("ray")
        options = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
        options += ["--node-ip-address=127.0.0.1"]
        command = [str(ray), "start", *arguments, *options]
        started = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=240
        )
        assert started.returncode == 0, started.stdout + started.stderr

    try:
        port = address.rpartition(":")[2]
        start("--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
        start(f"--address={address}")
        yield address
    finally:
        assert end_processes(mark) == []
        shutil.rmtree(folder, ignore_errors=True)
    assert find_processes(mark) == []


def test_a_run_over_two_ray_nodes_works_on_both_and_gives_the_weights_of_a_local_run(
    cluster: str, run_config: dict[str, Any], tmp_path: Path
) -> None:
    config = run_config | {"num-participants": 6, "tensorboard": False}
    notes = tmp_path / "notes"
    notes.mkdir()
    app = stage_app(REPOSITORY, tmp_path / "noting-app")
    (app / "noting.py").write_text(NOTING_CLIENT.format(notes=str(notes)))
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    pyproject = pyproject.replace("fl_app.client_app:app", "noting:app")
    pyproject = pyproject.replace("fab-include = [", 'fab-include = ["noting.py", ')
    (app / "pyproject.toml").write_text(pyproject)

    finish(launch(config, tmp_path, "--ray-address", cluster, "--app", str(app)))

    ran = [note.name.rpartition("-") for note in notes.iterdir()]
    assert len({node for node, _, _ in ran}) == 2
    assert {participant for _, _, participant in ran} == {str(i) for i in range(6)}
    distributed = summary_of(only_run(config))
    local = summary_of(run_app(config | {"output-dir": str(tmp_path / "local")}))
    assert distributed["rounds"] == local["rounds"] == 2
    assert distributed["sha256"] == local["sha256"]
