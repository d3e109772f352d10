"""Certificates made for a test, and a server on loopback that shows them."""

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.diagnostics.report import Finding
from scripts.diagnostics.server import check_server

DAY = dt.timedelta(days=1)
PEM = serialization.Encoding.PEM
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


def visit(
    tmp_path: Path, server: Identity, ca: Path | None, host: str = "localhost", **how: Any
) -> list[Finding]:
    chain = server.save(tmp_path / "server.pem").with_suffix(".chain")
    with serving(chain, **how) as port:
        return list(check_server(f"{host}:{port}", ca))
