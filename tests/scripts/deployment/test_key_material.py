"""Certificates and keys, and the commands that make them."""

import re
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
from scripts.deployment.plan import plan_federation
from scripts.launcher.run_config import UsageError


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


UNREACHABLE = [
    ("fl.example.org:8000", "give the host alone, without the port: fl.example.org"),
    ("10.0.0.5:8000", "give the IP address alone"),
    ("[::1]", "give the IP address alone"),
    ("[::1]:8000", "give the IP address alone"),
    ("https://fl.example.org", "it is a URL"),
    ("fl.example.org/x", "it is a URL"),
    ("a b", "neither a DNS name"),
    ("", "it is empty"),
    (" ", "it is empty"),
    ("fl..example.org", "neither a DNS name"),
    ("a-.org", "neither a DNS name"),
    ("a.org.", "without a dot at the end"),
    ("bücher.example", "in ASCII"),
    ("300.1.2.3", "looks like an IP address and is none"),
    ("x" * 64 + ".org", "neither a DNS name"),
]


@pytest.mark.parametrize(("host", "why"), UNREACHABLE)
def test_no_certificate_is_made_that_no_node_could_match(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, why: str
) -> None:
    make_authority(tmp_path / "ca")
    options = ["--ca", str(tmp_path / "ca"), "--host", "a.org", "--host", host]

    assert certificates.main(["server", str(tmp_path / "server"), *options]) == 1

    told = capsys.readouterr().err
    assert told.startswith(f"error: no certificate can be made for the host {host!r}: ")
    assert why in told
    assert not (tmp_path / "server").exists()


@pytest.mark.parametrize(("host", "why"), UNREACHABLE)
def test_the_federation_refuses_such_a_host_before_it_starts(
    tmp_path: Path, host: str, why: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        plan_federation(["--host", host], tmp_path)


@pytest.mark.parametrize(
    "host",
    ["a", "fl.example.org", "*.example.org", "my_host", "10.0.0.5", "fe80::1", "xn--bcher-kva.de"],
)
def test_what_a_node_can_connect_to_is_taken(tmp_path: Path, host: str) -> None:
    make_authority(tmp_path / "ca")
    assert make_server(tmp_path / "server", tmp_path / "ca", [host])[0].is_file()


def run(command: str) -> str:
    try:
        return subprocess.run(
            shlex.split(command), capture_output=True, text=True, check=True
        ).stdout
    except FileNotFoundError as error:
        pytest.skip(f"no {error.filename} here")


@pytest.mark.parametrize("days", ["0", "99999999"])
def test_a_validity_that_no_calendar_has_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], days: str
) -> None:
    with pytest.raises(SystemExit):
        certificates.main(["ca", str(tmp_path / "ca"), "--days", days])
    assert f"must be from 1 to 36500, not {days}" in capsys.readouterr().err
