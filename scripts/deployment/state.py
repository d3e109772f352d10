"""The folder that a federation keeps: certificates, keys and database."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.processes.superlink import Launch, LaunchError


@dataclass(frozen=True)
class StateFolder:
    """Where certificate authority, keys and database of a federation lie."""

    path: Path

    @property
    def authority(self) -> Path:
        """Folder of the certificate authority."""
        return self.path / "ca"

    @property
    def ca_certificate(self) -> Path:
        """What everybody trusts."""
        return self.authority / "ca.crt"

    @property
    def nodes(self) -> Path:
        """Folder of the nodes' authentication keys."""
        return self.path / "nodes"

    @property
    def database(self) -> Path:
        """The SuperLink's database."""
        return self.path / "superlink.db"

    def node_key(self, name: str) -> Path:
        """A node's private key."""
        return self.nodes / f"{name}.key"

    def public_key(self, name: str) -> Path:
        """A node's public key."""
        return self.nodes / f"{name}.pub"


def folder_for(launch: Launch, state: Path | None) -> Path:
    """Return the state folder: the one that was asked for, or one that goes with the launch."""
    return launch.folder / "state" if state is None else state


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second federation away from a state folder.

    Raises:
        LaunchError: If there is one at work.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise LaunchError(f"another federation is at work in {folder}") from None
    try:
        yield
    finally:
        os.close(descriptor)
