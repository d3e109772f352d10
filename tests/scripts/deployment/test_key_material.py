"""Certificates and keys, and the commands that make them."""

import shlex
import subprocess
from pathlib import Path

import pytest

from scripts.deployment import certificates
from scripts.deployment.key_material import (
    CertificateError,
    make_authority,
    make_node_key,
    make_server,
)


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
