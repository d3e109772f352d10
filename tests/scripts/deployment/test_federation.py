"""The federation command without a federation: options, commands, certificates."""

import shlex
import subprocess
from pathlib import Path

import pytest
from flwr.common.config import parse_config_args

from scripts.deployment import certificates
from scripts.deployment.federation import main
from scripts.deployment.key_material import (
    CertificateError,
    make_authority,
    make_node_key,
    make_server,
)
from scripts.deployment.plan import FederationPlan, plan_federation
from scripts.deployment.state import locked
from scripts.launcher.run_config import UsageError
from scripts.processes.superlink import LaunchError

# Flower's command line imports what its own dependency deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")

CLASSES = ("-c", "class-names='cat,dog'")


def plan(cwd: Path, *arguments: str) -> FederationPlan:
    return plan_federation(arguments, cwd)


def test_numbered_nodes_hold_the_parts_of_one_data_set(tmp_path: Path) -> None:
    nodes = plan(tmp_path, "--participants", "3").nodes

    assert [node.name for node in nodes] == ["node-0", "node-1", "node-2"]
    assert nodes[2].config_argument == "partition-id=2 num-partitions=3"


def test_named_nodes_bring_their_own_data(tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    (tmp_path / "b").mkdir()

    made = plan(tmp_path, "--node", "north=my data", "--node", "south=b", *CLASSES)

    assert made.overrides["dataset"] == "own"
    assert made.overrides["num-participants"] == 2
    # Flower reads it as it was meant.
    assert parse_config_args([made.nodes[0].config_argument]) == {
        "name": "north",
        "data": str(tmp_path / "my data"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--node", "north"], "not of the form NAME=DATA"),
        (["--node", "no/rth=."], "letters, digits"),
        (["--node", "a=gone"], "is not there"),
        (["--node", "a=.", "--node", "a=."], "given twice"),
        (["--node", "a=.", "--participants", "2"], "but 1 times --node"),
        (["-c", 'dataset="own" class-names="a,b"'], "--node NAME=PATH"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(tmp_path, *arguments, *CLASSES)


def test_a_path_that_flower_cannot_carry_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'a"b').mkdir()
    with pytest.raises(UsageError, match="cannot carry quotes"):
        plan(tmp_path, "--node", 'a=a"b', *CLASSES)


def test_print_starts_nothing_and_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print", "--participants", "2", "--host", "fl.example.org"]) == 0

    printed = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=printed, text=True, check=True)
    commands = [shlex.split(line)[0] for line in printed.splitlines() if line.startswith("fl")]
    assert commands.count("flower-superlink") == 1
    assert commands.count("flower-supernode") == 2
    assert commands.count("flwr") == 3  # registers two nodes, and runs
    assert "--host fl.example.org" in printed


def test_private_keys_and_their_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    _, ca_key = make_authority(tmp_path / "ca")
    _, server_key = make_server(tmp_path / "server", tmp_path / "ca", ["fl.example.org"])
    node_key, _ = make_node_key(tmp_path / "nodes", "a")

    for key in (ca_key, server_key, node_key):
        assert key.stat().st_mode & 0o777 == 0o600
        assert key.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    make_authority(tmp_path)
    make_server(tmp_path, tmp_path, [])
    make_node_key(tmp_path, "a")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    for make in (
        lambda: make_authority(tmp_path),
        lambda: make_server(tmp_path, tmp_path, []),
        lambda: make_node_key(tmp_path, "a"),
    ):
        with pytest.raises(CertificateError, match="is there already"):
            make()

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_command_makes_what_openssl_and_ssh_understand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca, server, node = (str(tmp_path / name) for name in ("ca", "server", "node"))
    assert certificates.main(["ca", ca]) == 0
    assert (
        certificates.main(["server", server, "--ca", ca, "--host", "a.org", "--host", "10.0.0.5"])
        == 0
    )
    assert certificates.main(["node", node, "--name", "north"]) == 0
    assert "flwr supernode register north.pub --name north" in capsys.readouterr().out
    assert certificates.main(["server", node, "--ca", server, "--host", "a.org"]) == 1
    assert "holds no certificate authority" in capsys.readouterr().err

    verified = run(f"openssl verify -x509_strict -CAfile {ca}/ca.crt {server}/server.crt")
    assert "OK" in verified
    names = run(f"openssl x509 -in {server}/server.crt -noout -ext subjectAltName")
    assert {"DNS:a.org", "IP Address:10.0.0.5", "DNS:localhost", "IP Address:127.0.0.1"} <= {
        name.strip() for name in names.splitlines()[1].split(",")
    }


def run(command: str) -> str:
    try:
        return subprocess.run(
            shlex.split(command), capture_output=True, text=True, check=True
        ).stdout
    except FileNotFoundError as error:
        pytest.skip(f"no {error.filename} here")


def test_a_state_folder_serves_one_federation_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(LaunchError, match="another federation"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
