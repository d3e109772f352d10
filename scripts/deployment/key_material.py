"""Makes a federation's certificates and keys: X.509 for the TLS server, OpenSSH for the nodes."""

import datetime
import ipaddress
import os
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_public_key,
    ssh_key_fingerprint,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scripts.deployment.host_names import host_fault, is_ip_address

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CLOCK_SKEW = datetime.timedelta(minutes=5)


class CertificateError(Exception):
    """A certificate or key that cannot be made; the message says why."""


def make_authority(folder: Path, days: int = 3650) -> tuple[Path, Path]:
    """Make a certificate authority.

    Args:
        folder: Gets `ca.crt` and `ca.key`; made, for its owner alone, if it is not there.
        days: Validity.

    Returns:
        The paths of certificate and key.

    Raises:
        CertificateError: If either file is there already.
    """
    certificate, key = folder / "ca.crt", folder / "ca.key"
    _refuse_to_overwrite(certificate, key)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"federation CA {_now():%Y-%m-%d}")])
    builder = _builder(name, name, private.public_key(), private.public_key(), days, _now())
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    builder = builder.add_extension(_key_usage(authority=True), critical=True)
    _write(key, _private_pem(private), secret=True)
    _write(certificate, builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM))
    return certificate, key


def make_server(
    folder: Path,
    authority: Path,
    hosts: Iterable[str],
    days: int = 365,
    start: datetime.datetime | None = None,
) -> tuple[Path, Path]:
    """Make the SuperLink's certificate, for the given hosts and for loopback.

    Loopback is always among them: the SuperLink's own children reach it there.

    Args:
        folder: Gets `server.crt` and `server.key`.
        authority: Folder of the certificate authority.
        hosts: DNS names and IP addresses under which nodes reach the SuperLink.
        days: Validity.
        start: Beginning of the validity; now, if `None`.

    Returns:
        The paths of certificate and key.

    Raises:
        CertificateError: If either file is there already, the authority is not, or a host is
            neither a DNS name nor an IP address.
    """
    certificate, key = folder / "server.crt", folder / "server.key"
    _refuse_to_overwrite(certificate, key)
    ca, ca_key = _load_authority(authority)
    names = [_alternative_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK])]
    private = ec.generate_private_key(ec.SECP256R1())
    common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SuperLink")])
    builder = _builder(
        common, ca.subject, private.public_key(), ca_key.public_key(), days, start or _now()
    )
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write(key, _private_pem(private), secret=True)
    _write(certificate, builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return certificate, key


def make_node_key(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a SuperNode's authentication key (P-384, in OpenSSH's format).

    Args:
        folder: Gets `NAME.key` and `NAME.pub`.
        name: The node's name.

    Returns:
        The paths of the private and of the public key.

    Raises:
        CertificateError: If either file is there already.
    """
    key, public = folder / f"{name}.key", folder / f"{name}.pub"
    _refuse_to_overwrite(key, public)
    private = ec.generate_private_key(ec.SECP384R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    _write(key, pem, secret=True)
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    _write(public, line + f" {name}\n".encode())
    return key, public


def fingerprint(path: Path) -> str:
    """Return what two people compare over the phone, as openssl and ssh-keygen show it."""
    content = path.read_bytes()
    if path.suffix == ".crt":
        digest = x509.load_pem_x509_certificate(content).fingerprint(hashes.SHA256())
        return "SHA256 " + digest.hex(":").upper()
    key = load_ssh_public_key(content)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    digest = ssh_key_fingerprint(key, hashes.SHA256())
    return "SHA256:" + b64encode(digest).decode().rstrip("=")


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuing: ec.EllipticCurvePublicKey,
    days: int,
    start: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _CLOCK_SKEW)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing), critical=False)
    )


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_name(host: str) -> x509.GeneralName:
    if fault := host_fault(host):
        raise CertificateError(f"no certificate can be made for the host {host!r}: {fault}")
    if is_ip_address(host):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def _load_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{folder} holds no certificate authority: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{folder / 'ca.key'} is not an EC key")
    return certificate, key


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _refuse_to_overwrite(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise CertificateError(f"{path} is there already; move it away, or choose a new folder")


def _write(path: Path, content: bytes, secret: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = 0o600 if secret else 0o644
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
        file.write(content)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
