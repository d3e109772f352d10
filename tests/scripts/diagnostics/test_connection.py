"""Servers that cannot be reached, or not as they should be."""

import socket
from typing import Any

import pytest

from scripts.diagnostics import connection
from scripts.diagnostics.connection import Address, parse_address
from scripts.diagnostics.server import check_server
from tests.scripts.diagnostics.doctor_findings import failures
from tests.scripts.diagnostics.tls_server import serving


def test_a_server_without_tls_is_recognised() -> None:
    with serving(None) as port:
        [told] = failures(list(check_server(f"localhost:{port}", None)))
    assert "plain HTTP" in told
    assert "--insecure" in told


def test_a_closed_port_and_an_unknown_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refuses connections" in failures(list(check_server(f"127.0.0.1:{port}", None)))[0]

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    assert "has no address" in failures(list(check_server("nowhere.example:9", None)))[0]


def test_silence_is_told_apart_before_and_after_connecting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = list(check_server(f"127.0.0.1:{server.getsockname()[1]}", None))
    assert "did not answer in TLS" in failures(found)[0]

    def slow(*_: Any, **__: Any) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", slow)
    assert "firewall" in failures(list(check_server("127.0.0.1:9", None)))[0]


def test_a_proxy_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy:3128")
    warning = next(iter(check_server("127.0.0.1:1", None)))
    assert warning.level == "warn"
    assert "secret" not in warning.message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:9092", Address("localhost", 9092)),
        ("[::1]:9092", Address("::1", 9092)),
        ("https://localhost:9092", None),
        ("localhost:9092/", None),
        ("localhost", None),
        ("localhost:0", None),
        ("localhost:65536", None),
        (":9092", None),
        ("::1:9092", None),
    ],
)
def test_addresses_are_host_and_port(text: str, address: Address | None) -> None:
    assert parse_address(text) == address
    if address is None:
        assert "must be HOST:PORT" in failures(list(check_server(text, None)))[0]
