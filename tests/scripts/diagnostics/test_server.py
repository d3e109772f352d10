"""What the doctor says of a server's certificate, name, trust and clock."""

from pathlib import Path

import pytest

from tests.scripts.diagnostics.doctor_findings import failures, levels
from tests.scripts.diagnostics.tls_server import Identity, issue, visit


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
