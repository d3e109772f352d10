"""What the doctor says of a CA file and of a node's key."""

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from scripts.diagnostics.credentials import check_ca, check_key
from tests.scripts.diagnostics.doctor_findings import failures, levels
from tests.scripts.diagnostics.node_key import save_key
from tests.scripts.diagnostics.tls_server import PEM, PLAIN, Identity, issue


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
