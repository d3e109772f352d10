"""The doctor's checks of the files a node is given: the CA certificate and its own key."""

import base64
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from scripts.diagnostics.report import Finding, fail, judge_dates, ok, warn

_CA, _KEY = "CA certificate", "key"
_NEW_KEY = "ssh-keygen -t ecdsa -b 384 -N '' -f"


def check_ca(path: Path) -> Iterator[Finding]:
    """Check the file for --root-certificates: PEM, a certificate authority, valid today."""
    raw = _read(path)
    if isinstance(raw, str):
        yield fail(_CA, raw)
        return
    if b"PRIVATE KEY-----" in raw:
        yield fail(
            _CA,
            f"{path} holds a private key. A node needs the certificate alone; ask "
            "the server's operator for that, and tell them that the key got out.",
        )
    try:
        raw.decode("ascii")  # Flower decodes it like this
        certificates = x509.load_pem_x509_certificates(raw)
    except ValueError:
        yield fail(
            _CA,
            f"{path} is no certificate in PEM form (-----BEGIN CERTIFICATE-----, "
            "plain ASCII). Copy it again from the server's operator.",
        )
        return
    for certificate in certificates:
        yield from _check_authority(certificate)


def _check_authority(certificate: x509.Certificate) -> Iterator[Finding]:
    name = certificate.subject.rfc4514_string() or "(no name)"
    extensions = certificate.extensions
    try:
        authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    try:
        signs = extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        signs = True
    if authority and signs:
        yield ok(_CA, f"{name} is a certificate authority")
    elif certificate.issuer == certificate.subject:
        yield warn(
            _CA,
            f"{name} is no certificate authority. It can only vouch for a server that "
            "shows this very certificate.",
        )
    else:
        yield fail(
            _CA,
            f"{name} is no certificate authority (is it the server's own "
            "certificate?). Ask the server's operator for the CA's.",
        )
    yield judge_dates(
        _CA, f"{name}", certificate.not_valid_before_utc, certificate.not_valid_after_utc
    )


def check_key(path: Path) -> Iterator[Finding]:
    """Check the node's private key: who can read it, and whether Flower takes it."""
    raw = _read(path)
    if isinstance(raw, str):
        yield fail(_KEY, raw)
        return
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        yield fail(_KEY, f"{path} has mode {mode:04o}: others can get at it. chmod 600 {path}")
    else:
        yield ok(_KEY, f"{path} has mode {mode:04o}")
    if status.st_uid != os.geteuid():
        yield warn(
            _KEY,
            f"{path} belongs to user {status.st_uid}, and you are {os.geteuid()}. "
            "The SuperNode must run as the key's owner.",
        )
    private = _parse_key(path, raw)
    if isinstance(private, str):
        yield fail(_KEY, private)
        return
    public = private.public_key()
    yield ok(_KEY, f"EC key on {private.curve.name}, public part {fingerprint(public)}")
    yield from _compare_public(path, public)


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return a public key's fingerprint as ssh-keygen -l prints it."""
    blob = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _parse_key(path: Path, raw: bytes) -> ec.EllipticCurvePrivateKey | str:
    """Return the key, read as Flower reads it, or what is wrong with it."""
    first = raw.split(b"\n", 1)[0].strip()
    if first.startswith((b"ecdsa-", b"ssh-")) or b"PUBLIC KEY" in first:
        return f"{path} is a public key. Give the private one, the file without .pub."
    if first.startswith(b"-----BEGIN") and b"OPENSSH" not in first:
        return (
            f"{path} is not in OpenSSH's form, which Flower needs (it begins with "
            f"{first.decode('ascii', 'replace')[:40]}). ssh-keygen -p -N '' -f {path} rewrites it."
        )
    try:
        key = load_ssh_private_key(raw, None)
    except TypeError:  # Flower would end in a traceback
        return (
            f"{path} is protected by a password, which Flower cannot ask for. "
            f"ssh-keygen -p -N '' -f {path} takes it off."
        )
    except (ValueError, UnsupportedAlgorithm):
        return f"{path} is no intact private key. {_NEW_KEY} FILE makes a new one to register."
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey").lstrip("_")
        return f"{path} is of type {kind}; Flower takes EC keys. {_NEW_KEY} FILE makes one."
    return key


def _compare_public(path: Path, public: ec.EllipticCurvePublicKey) -> Iterator[Finding]:
    """Compare with KEY.pub, if it is there: that is what the server was most likely given."""
    beside = Path(f"{path}.pub")
    if not beside.is_file():
        return
    try:
        same = load_ssh_public_key(beside.read_bytes()) == public
    except (OSError, ValueError, UnsupportedAlgorithm):
        same = False
    if not same:
        yield warn(
            _KEY,
            f"{beside} is not the public part of {path}. If the server was given "
            f"it, it will refuse this node: ssh-keygen -y -f {path} > {beside}",
        )


def _read(path: Path) -> bytes | str:
    """Return the content of a file, or why there is none."""
    if not path.is_file():
        return f"{path} is not a file." if path.exists() else f"{path} does not exist."
    try:
        return path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read by this user: {error.strerror}."
