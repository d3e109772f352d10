"""What the doctor is asked, and its findings by check."""

from pathlib import Path

from scripts.diagnostics.report import Finding


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def failures(findings: list[Finding]) -> list[str]:
    return [f"{f.check}: {f.message}" for f in findings if f.level == "FAIL"]


def options(pictures: Path, *more: str) -> list[str]:
    return ["--data", str(pictures), "--class-names", "dark,none,light", *more]
