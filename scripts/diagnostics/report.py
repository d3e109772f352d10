"""What a check of the doctor found, and how a check is kept from failing itself."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Level = Literal["ok", "warn", "FAIL"]
_SOON = timedelta(days=30)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: "ok"; "warn" is worth a look; "FAIL" keeps the node from joining.
        check: What was looked at, in a word or two.
        message: What was found and, unless all is well, how to mend it. Never a secret.
    """

    level: Level
    check: str
    message: str


def ok(check: str, message: str) -> Finding:
    """Make a finding that all is well."""
    return Finding("ok", check, message)


def warn(check: str, message: str) -> Finding:
    """Make a finding that is worth a look."""
    return Finding("warn", check, message)


def fail(check: str, message: str) -> Finding:
    """Make a finding that keeps the node from joining."""
    return Finding("FAIL", check, message)


def guarded(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Run a check; if it breaks, that is a finding too, and what it had found by then stays."""
    findings: list[Finding] = []
    try:
        findings.extend(check())
    # A broken library may raise anything when it is imported, even SystemExit.
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or "no reason given"
        findings.append(
            fail(name, f"could not be checked: {type(error).__name__}: {reason[:300]}.")
        )
    return findings


def judge_dates(check: str, what: str, start: datetime, end: datetime) -> Finding:
    """Judge a certificate's dates by this machine's clock.

    Args:
        check: Of the finding.
        what: The certificate, in words that begin a sentence.
        start: First moment of validity, with time zone.
        end: Last moment of validity, with time zone.
    """
    now = datetime.now(UTC)
    if now < start:
        return fail(
            check,
            f"{what} is not valid before {start:%Y-%m-%d %H:%M} UTC, and here it is "
            f"{now:%Y-%m-%d %H:%M} UTC. Set this machine's clock, or wait.",
        )
    days = abs(end - now).days
    if now > end:
        return fail(
            check, f"{what} expired on {end:%Y-%m-%d} ({days} days ago). Get a new one issued."
        )
    if end - now < _SOON:
        return warn(
            check, f"{what} expires on {end:%Y-%m-%d}, in {days} days. Get a new one in time."
        )
    return ok(check, f"{what} is valid until {end:%Y-%m-%d} ({days} days)")
