"""The doctor: each thing that keeps a node from joining has its own sentence."""

import datetime as dt
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from PIL import Image

from scripts.diagnostics import connection, doctor, machine
from scripts.diagnostics.connection import Address, parse_address
from scripts.diagnostics.credentials import check_ca, check_key
from scripts.diagnostics.report import Finding, fail, guarded, ok
from scripts.diagnostics.server import check_server
from scripts.repository import REPOSITORY

DAY = dt.timedelta(days=1)
PEM = serialization.Encoding.PEM
OPENSSH = serialization.PrivateFormat.OpenSSH
PLAIN = serialization.NoEncryption()


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def save(self, path: Path) -> Path:
        """Write the certificate to `path` and certificate plus key beside it."""
        pem = self.certificate.public_bytes(PEM)
        traditional = serialization.PrivateFormat.TraditionalOpenSSL
        path.write_bytes(pem)
        path.with_suffix(".chain").write_bytes(
            pem + self.key.private_bytes(PEM, traditional, PLAIN)
        )
        return path


def issue(
    name: str,
    issuer: Identity | None = None,
    hosts: tuple[str, ...] = ("localhost",),
    days: tuple[float, float] = (-1, 365),
    authority: bool = False,
) -> Identity:
    """Make a certificate, valid from and to so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    names = [_general_name(host) for host in hosts]
    if names and not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Identity(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Answer(BaseHTTPRequestHandler):
    """Answers 404 with a Date so many seconds off."""

    skew: float | None = 0.0

    def do_HEAD(self) -> None:
        self.send_response_only(404)
        if self.skew is not None:
            now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.skew)
            self.send_header("Date", format_datetime(now, usegmt=True))
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that refuse the certificate: that is the test."""


@contextmanager
def serving(chain: Path | None, skew: float | None = 0.0) -> Iterator[int]:
    """Serve on loopback, over TLS if there is a chain; gives the port."""
    handler = type("Skewed", (Answer,), {"skew": skew})
    with Quiet(("127.0.0.1", 0), handler) as server:
        if chain is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
            # The handshake belongs to the connection's thread, or a client could block them all.
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def authority() -> Identity:
    return issue("Test CA", authority=True)


@pytest.fixture
def ca(authority: Identity, tmp_path: Path) -> Path:
    return authority.save(tmp_path / "ca.pem")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def failures(findings: list[Finding]) -> list[str]:
    return [f"{f.check}: {f.message}" for f in findings if f.level == "FAIL"]


def visit(
    tmp_path: Path, server: Identity, ca: Path | None, host: str = "localhost", **how: Any
) -> list[Finding]:
    chain = server.save(tmp_path / "server.pem").with_suffix(".chain")
    with serving(chain, **how) as port:
        return list(check_server(f"{host}:{port}", ca))


# The server


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_sound_server_passes(tmp_path: Path, authority: Identity, ca: Path, host: str) -> None:
    found = visit(tmp_path, issue("s", authority, ("localhost", "127.0.0.1")), ca, host)
    assert levels(found) == dict.fromkeys(
        ("server", "server certificate", "server name", "server trust", "clock"), "ok"
    )


def test_an_expired_certificate_is_the_only_fault(
    tmp_path: Path, authority: Identity, ca: Path
) -> None:
    [told] = failures(visit(tmp_path, issue("s", authority, days=(-60, -10)), ca))
    assert told.startswith("server certificate: ")
    assert "expired" in told
    assert "10 days ago" in told


def test_a_certificate_of_tomorrow_is_refused(
    tmp_path: Path, authority: Identity, ca: Path
) -> None:
    [told] = failures(visit(tmp_path, issue("s", authority, days=(1, 90)), ca))
    assert "is not valid before" in told
    assert "clock" in told


def test_a_certificate_that_expires_soon_is_a_warning(
    tmp_path: Path, authority: Identity, ca: Path
) -> None:
    found = visit(tmp_path, issue("s", authority, days=(-1, 29.5)), ca)
    assert levels(found)["server certificate"] == "warn"
    assert not failures(found)
    found = visit(tmp_path, issue("s", authority, days=(-1, 31)), ca)
    assert levels(found)["server certificate"] == "ok"


def test_another_authority_is_not_trusted(tmp_path: Path, authority: Identity) -> None:
    other = issue("Other CA", authority=True).save(tmp_path / "other.pem")
    [told] = failures(visit(tmp_path, issue("s", authority), other))
    assert "authority that is not in the CA file" in told
    assert "CN=Test CA" in told


def test_an_impostor_with_the_authoritys_name_is_not_trusted(tmp_path: Path, ca: Path) -> None:
    impostor = issue("Test CA", authority=True)
    [told] = failures(visit(tmp_path, issue("s", impostor), ca))
    assert told.startswith("server trust: ")


def test_a_self_signed_server_is_trusted_only_if_it_is_the_file(tmp_path: Path, ca: Path) -> None:
    alone = issue("alone")
    [told] = failures(visit(tmp_path, alone, ca))
    assert "self-signed" in told
    assert not failures(visit(tmp_path, alone, alone.save(tmp_path / "alone.pem")))


def test_without_a_ca_file_the_public_authorities_are_asked(
    tmp_path: Path, authority: Identity
) -> None:
    [told] = failures(visit(tmp_path, issue("s", authority), None))
    assert "not in the public list" in told
    assert "--root-certificates" in told


@pytest.mark.parametrize("hosts", [("superlink.example", "127.0.0.1"), ("*.localhost",), ()])
def test_a_certificate_for_another_host_is_refused(
    tmp_path: Path, authority: Identity, ca: Path, hosts: tuple[str, ...]
) -> None:
    [told] = failures(visit(tmp_path, issue("s", authority, hosts), ca))
    assert told.startswith("server name: ")
    assert ", ".join(hosts) in told
    assert "localhost" in told


def test_each_fault_has_its_own_line(tmp_path: Path, authority: Identity) -> None:
    other = issue("Other CA", authority=True).save(tmp_path / "other.pem")
    server = issue("s", authority, ("elsewhere",), days=(-9, -3))
    found = visit(tmp_path, server, other, skew=9000.0)
    assert [told.partition(":")[0] for told in failures(found)] == [
        *("server certificate", "server name", "server trust", "clock")
    ]


@pytest.mark.parametrize(
    ("skew", "level"),
    [(0, "ok"), (-20, "FAIL"), (20, "ok"), (120, "warn"), (400, "FAIL"), (None, "ok")],
)
def test_clocks_may_differ_by_what_flower_allows(
    tmp_path: Path, authority: Identity, ca: Path, skew: float | None, level: str
) -> None:
    found = visit(tmp_path, issue("s", authority), ca, skew=skew)
    assert levels(found)["clock"] == level


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


# The files


def test_an_authority_passes_and_its_dates_are_judged(tmp_path: Path, ca: Path) -> None:
    assert [f.level for f in check_ca(ca)] == ["ok", "ok"]
    old = issue("Old CA", authority=True, days=(-9, -2)).save(tmp_path / "old.pem")
    assert "expired" in failures(list(check_ca(old)))[0]


def test_what_is_no_authority_is_refused(tmp_path: Path, authority: Identity, ca: Path) -> None:
    server = issue("s", authority).save(tmp_path / "server.pem")
    assert "no certificate authority" in failures(list(check_ca(server)))[0]
    alone = issue("alone").save(tmp_path / "alone.pem")
    assert levels(list(check_ca(alone))[:1]) == {"CA certificate": "warn"}
    assert "private key" in failures(list(check_ca(ca.with_suffix(".chain"))))[0]
    ca.write_bytes(ca.read_bytes()[:200])
    assert "no certificate in PEM form" in failures(list(check_ca(ca)))[0]
    assert "does not exist" in failures(list(check_ca(tmp_path / "none.pem")))[0]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "node"
    save_key(path, ec.generate_private_key(ec.SECP384R1()))
    return path


def save_key(path: Path, private: Any) -> None:
    path.write_bytes(private.private_bytes(PEM, OPENSSH, PLAIN))
    path.chmod(0o600)


def test_a_sound_key_passes_and_is_not_shown(key: Path) -> None:
    found = list(check_key(key))
    assert {f.level for f in found} == {"ok"}
    shown = " ".join(f.message for f in found)
    assert not any(line in shown for line in key.read_text().splitlines())
    printed = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True)
    assert printed.stdout.split()[1] in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o666])
def test_a_key_that_others_can_get_at_is_refused(key: Path, mode: int) -> None:
    key.chmod(mode)
    [told] = failures(list(check_key(key)))
    assert f"{mode:04o}" in told
    assert f"chmod 600 {key}" in told


def test_a_key_of_another_owner_is_pointed_out(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid + 1)
    assert any("belongs to user" in f.message for f in check_key(key) if f.level == "warn")


def test_keys_that_flower_does_not_take_are_refused(key: Path) -> None:
    private = ec.generate_private_key(ec.SECP384R1())

    def told() -> str:
        return failures(list(check_key(key)))[0]

    save_key(key, ed25519.Ed25519PrivateKey.generate())
    assert "Ed25519" in told()
    save_key(key, private)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", key], check=True)
    assert "password" in told()
    key.write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, PLAIN))
    assert "OpenSSH's form" in told()
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "", "-f", key], check=True)
    assert not failures(list(check_key(key)))  # the advice given helps
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    key.write_bytes(public)
    assert "is a public key" in told()
    key.write_bytes(b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    assert "no intact private key" in told()
    key.unlink()
    assert "does not exist" in told()


def test_a_public_key_of_another_pair_is_pointed_out(key: Path) -> None:
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    public = other.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    Path(f"{key}.pub").write_bytes(public)
    assert any("is not the public part" in f.message for f in check_key(key) if f.level == "warn")


# The machine


def test_this_environment_satisfies_the_project() -> None:
    found = list(machine.check_python())
    assert levels(found) == {"python": "ok", "packages": "ok"}
    assert f"flwr {metadata.version('flwr')}" in found[1].message


def test_missing_and_old_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "no-such-package-here", "pytest>=1", 'absent; extra == "dev"']
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    monkeypatch.setattr(metadata, "metadata", lambda _: {"Requires-Python": ">=9"})
    told = failures(list(machine.check_python()))
    assert [
        any(word in line for line in told) for word in (">=9", ">=99", "no-such", "absent")
    ] == [*(True, True, True, False)]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ImportError('libcudart.so.13: cannot open shared object file')", "libcudart"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4"),
    ],
)
def test_a_broken_torch_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    (tmp_path / "torch.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [message] = failures(list(machine.check_torch()))
    assert told in message
    assert "Traceback" not in message


def test_little_room_on_a_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DELTA_FEDAVG_DATA_DIR", "DELTA_FEDAVG_OUTPUT_DIR", "FLWR_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "not" / "made" / "yet"))
    for free, level in ((10, "ok"), (3, "warn"), (0.5, "FAIL")):
        usage = SimpleNamespace(free=int(free * 2**30))
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        assert [f.level for f in machine.check_disks(None)] == [level] * 4
    assert levels(list(machine.check_disks(tmp_path)))["data disk"] == "ok"  # only read


def test_resources_are_told() -> None:
    assert set(levels(list(machine.check_resources()))) == {"processor", "memory"}


@pytest.mark.parametrize(
    ("compiler", "level", "told"),
    [
        ("", "warn", "none. Training of convolutions takes half as long again"),
        ("false", "warn", "does not work: exit status 1. Training"),
        pytest.param(
            "cc",
            "ok",
            "cc works",
            marks=pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
        ),
    ],
)
def test_a_compiler_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, level: str, told: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("DELTA_FEDAVG_CC", compiler)
    [finding] = machine.check_compiler()
    assert finding.level == level
    assert told in finding.message


# The data


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for label, grey in (("dark", 60), ("light", 250)):
        (tmp_path / "site" / label).mkdir(parents=True)
        for index in range(6):
            array = np.full((8, 8), grey + index % 3, np.uint8)
            Image.fromarray(array).save(tmp_path / "site" / label / f"{index}.png")
    return tmp_path / "site"


def options(pictures: Path, *more: str) -> list[str]:
    return ["--data", str(pictures), "--class-names", "dark,none,light", *more]


def test_data_is_counted_and_drawn(pictures: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "look.png"
    given = doctor.parse(options(pictures, "--image-shape", "1,8,8", "--thumbnails", str(drawn)))
    found = guarded("data", lambda: doctor._data(given))
    assert not failures(found)
    shown = {f.message for f in found if f.check == "classes"}
    assert "dark 5+1, none 0+0, light 5+1" in shown
    assert any("none" in f.message for f in found if f.level == "warn")
    with Image.open(drawn) as image:
        grey = np.asarray(image.convert("L"))
    counts = np.bincount(grey.ravel(), minlength=256)
    assert min(counts[60:63].sum(), counts[250:253].sum()) > 5000


def test_data_that_does_not_fit_is_one_line(pictures: Path) -> None:
    found = guarded("data", lambda: doctor._data(doctor.parse(options(pictures))))
    assert "28 wide and 28 high" in failures(found)[0]
    assert len(found) == 1


def test_thumbnails_that_cannot_be_written_are_a_line(pictures: Path, tmp_path: Path) -> None:
    given = doctor.parse(
        options(pictures, "--image-shape", "1,8,8", "--thumbnails", str(tmp_path / "no" / "a.png"))
    )
    assert "cannot be written" in failures(guarded("data", lambda: doctor._data(given)))[0]


# The command


def test_a_check_that_breaks_is_a_line_and_keeps_what_it_had_found() -> None:
    def breaks() -> Iterator[Finding]:
        yield ok("thing", "half")
        raise RuntimeError("oh\nno")

    assert guarded("thing", breaks) == [
        ok("thing", "half"),
        fail("thing", "could not be checked: RuntimeError: oh no."),
    ]


def test_exit_status_and_json(monkeypatch: pytest.MonkeyPatch, capsys: Any, key: Path) -> None:
    monkeypatch.setattr(doctor, "_torch", lambda: [ok("torch", "works")])
    monkeypatch.setattr(doctor, "_disks", lambda _: [])
    assert doctor.main(["--key", str(key)]) == 0
    assert capsys.readouterr().out.endswith("Ready to join.\n")
    key.chmod(0o644)
    assert doctor.main(["--key", str(key), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [f["check"] for f in report["findings"] if f["level"] == "FAIL"] == ["key"]


def test_without_torch_the_data_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, pictures: Path
) -> None:
    monkeypatch.setattr(doctor, "_torch", lambda: [fail("torch", "broken")])
    monkeypatch.setattr(doctor, "_data", lambda _: pytest.fail("tried"))
    found = list(doctor.examine(doctor.parse(options(pictures))))
    assert any(f == fail("data", "not checked, because PyTorch does not work") for f in found)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "/x"],
        ["--thumbnails", "/x.png"],
        ["--data", "/x", "--class-names", "a", "--image-shape", "28"],
    ],
)
def test_a_mistaken_command_line_is_status_2(arguments: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        doctor.parse(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_the_command_imports_nothing_that_may_be_broken() -> None:
    script = "import sys, scripts.diagnostics.doctor; print([m for m in ('numpy', 'torch', "
    script += "'cryptography', 'packaging', 'fl_app', 'PIL') if m in sys.modules])"
    root = REPOSITORY
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
