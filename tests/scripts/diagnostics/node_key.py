"""A node's private key in OpenSSH's form, as Flower takes it."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from tests.scripts.diagnostics.tls_server import PEM, PLAIN

OPENSSH = serialization.PrivateFormat.OpenSSH


def save_key(path: Path, private: Any) -> None:
    path.write_bytes(private.private_bytes(PEM, OPENSSH, PLAIN))
    path.chmod(0o600)
