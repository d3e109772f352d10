"""The doctor's check of the SuperLink: can this node reach it, and would it trust it?"""

import ipaddress
import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509

from scripts.diagnostics.connection import Address, look, parse_address, reach
from scripts.diagnostics.report import Finding, fail, judge_dates, ok, warn

_REACH, _TRUST, _NAME, _SHOWN, _CLOCK = (
    *("server", "server trust", "server name"),
    *("server certificate", "clock"),
)
# A node whose clock is ahead of the server's by more than 5 s, or behind by more than 305 s,
# is not let in: Flower signs messages with the time. A second is lost in the Date header.
_MOST_AHEAD, _MOST_BEHIND, _WORTH_A_LOOK = 6.0, 304.0, 30.0
_IGNORE_DATES = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME
_UNTRUSTED = {
    2: "was issued by an authority that is not in {list}",
    18: "is self-signed and is not in {list}",
    19: "was issued by a self-signed authority that is not in {list}",
    20: "was issued by an authority that is not in {list}",
    21: "was issued by an authority that is not in {list}",
    7: "has a signature that the authority of that name in {list} did not make",
}


def check_server(superlink: str, ca: Path | None) -> Iterator[Finding]:
    """Connect to the SuperLink as a SuperNode would, and say what stands in the way.

    Args:
        superlink: HOST:PORT.
        ca: The file for --root-certificates; None: the authorities that Flower knows by itself.
    """
    address = parse_address(superlink)
    if address is None:
        yield fail(_REACH, f"{superlink!r} must be HOST:PORT, without https:// or a path.")
        return
    yield from _check_proxy()
    trouble = reach(address)
    if trouble:
        yield fail(_REACH, trouble)
        return
    shown = look(address)
    if isinstance(shown, str):
        yield fail(_REACH, shown)
        return
    certificate, date = shown
    yield ok(_REACH, f"{address} answers over TLS")
    dates = judge_dates(
        _SHOWN,
        "the server's certificate",
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
    name, trust = _check_name(address, certificate), _check_trust(address, ca, certificate)
    yield from (dates, name, trust)
    if "FAIL" not in {dates.level, name.level, trust.level}:
        yield from _rehearse(address, ca)
    yield _check_clock(date)


def _check_proxy() -> Iterator[Finding]:
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    set_here = [name for name in names if os.environ.get(name)]
    if set_here:
        yield warn(
            _REACH,
            f"{set_here[0]} is set: Flower goes through that proxy unless NO_PROXY names the "
            "server; the checks here go straight to the server.",
        )


def _check_name(address: Address, certificate: x509.Certificate) -> Finding:
    """Look for the host among the names that the certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return fail(
            _NAME,
            "the server's certificate names no host (it has no subjectAltName). Have it issued "
            f"anew for {address.host}.",
        )
    hosts = names.get_values_for_type(x509.DNSName)
    numbers = names.get_values_for_type(x509.IPAddress)
    try:
        found = ipaddress.ip_address(address.host) in numbers
    except ValueError:
        found = any(_matches(pattern, address.host) for pattern in hosts)
    known = ", ".join([*hosts, *map(str, numbers)]) or "nothing"
    if found:
        return ok(_NAME, f"the server's certificate is for {address.host}")
    return fail(
        _NAME,
        f"the server's certificate is for {known}, not for {address.host}. Use one of its names "
        f"in --superlink, or have it issued anew with {address.host}.",
    )


def _matches(pattern: str, host: str) -> bool:
    pattern, host = pattern.casefold().rstrip("."), host.casefold().rstrip(".")
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host


def _check_trust(address: Address, ca: Path | None, certificate: x509.Certificate) -> Finding:
    """Let OpenSSL follow the chain; dates and the name have lines of their own."""
    source = str(ca) if ca else "the authorities that Flower knows without --root-certificates"
    try:
        context = _flower_context(ca)
        context.check_hostname = False
        context.verify_flags |= ssl.VerifyFlags(_IGNORE_DATES)
        with address.connect() as plain, context.wrap_socket(plain):
            return ok(_TRUST, f"the server's certificate is vouched for by {source}")
    except ssl.SSLCertVerificationError as error:
        reason = _UNTRUSTED.get(error.verify_code, f"does not verify ({error.verify_message})")
        reason = reason.replace("{list}", "the CA file" if ca else "the public list")
        issuer = certificate.issuer.rfc4514_string() or "(no name)"
        return fail(
            _TRUST,
            f"the server's certificate {reason}. It was issued by {issuer}. Get that authority's "
            f"certificate from the server's operator for --root-certificates; looked in: {source}.",
        )
    except (OSError, ValueError) as error:
        return fail(_TRUST, f"could not be checked against {source}: {error}.")


def _rehearse(address: Address, ca: Path | None) -> Iterator[Finding]:
    """Connect exactly as Flower does, for whatever the checks one by one do not know."""
    try:
        context = _flower_context(ca)
        with address.connect() as plain:
            context.wrap_socket(plain, server_hostname=address.host).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "verify_message", "") or str(error)
        yield fail(_REACH, f"a connection such as Flower's fails: {reason}.")


def _flower_context(ca: Path | None) -> ssl.SSLContext:
    """Return what Flower's own client verifies with."""
    if ca is None:
        import certifi  # httpx, Flower's client, takes the authorities from there

        return ssl.create_default_context(cafile=certifi.where())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.read_bytes().decode("ascii"))
    return context


def _check_clock(date: str) -> Finding:
    try:
        server = parsedate_to_datetime(date)
        ahead = (datetime.now(UTC) - server.astimezone(UTC)).total_seconds()
    except (ValueError, TypeError):
        return ok(_CLOCK, "not compared: the server does not tell the time")
    if -_WORTH_A_LOOK < ahead <= _MOST_AHEAD:
        return ok(_CLOCK, f"within {max(abs(ahead), 1):.0f} s of the server's")
    side = "ahead of" if ahead > 0 else "behind"
    text = f"{abs(ahead):.0f} s {side} the server's. Set it (with NTP)"
    if ahead > _MOST_AHEAD or ahead < -_MOST_BEHIND:
        return fail(_CLOCK, f"{text}, here or there: Flower will refuse what this node signs.")
    return warn(_CLOCK, f"{text}; deadlines go by it.")
