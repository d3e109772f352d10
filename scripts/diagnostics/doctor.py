"""Check a node before it joins a federation: `python -m scripts.diagnostics.doctor --help`."""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

# Nothing but the standard library may be imported here: whatever is broken is to be reported.
from scripts.diagnostics.report import Finding, guarded

_MARKS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "FAIL": "\x1b[31m"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 if any check failed."""
    options = parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold what it cannot print
        sys.stdout.reconfigure(errors="backslashreplace")
    findings: list[Finding] = []
    try:
        for finding in examine(options):
            findings.append(finding)
            if not options.json:
                print(as_line(finding, sys.stdout.isatty()), flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever was reading has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    failed = sum(finding.level == "FAIL" for finding in findings)
    if options.json:
        report = {"ok": not failed, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(report, indent=2))
    else:
        print(f"{failed} to mend before this node can join." if failed else "Ready to join.")
    return int(failed > 0)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; on a mistake, say so and exit with status 2."""
    parser = argparse.ArgumentParser(
        prog="doctor",
        description="Check this machine, and what you name, before it joins a federation. "
        "Each line is ok, warn or FAIL. Nothing is changed, and no secret is printed.",
    )
    add = parser.add_argument
    add("--data", type=_path, metavar="PATH", help="own data: a folder or a file")
    add("--test-data", type=_path, metavar="PATH", help="own test data, likewise")
    add("--task", metavar="TASK", help="the agreed task, if not pictures: \"table(target='ill')\"")
    add("--class-names", type=_names, metavar="A,B,C", help="the agreed classes, in order")
    add("--image-shape", type=_shape, metavar="C,H,W", default=(1, 28, 28), help="1,28,28")
    add("--image-size", type=int, metavar="N", default=0, help="as in the run config")
    add("--image-channels", type=int, choices=(0, 1, 3), default=0, help="as in the run config")
    add("--holdout-fraction", type=float, metavar="X", default=0.2, help="without test data: 0.2")
    add("--thumbnails", type=_path, metavar="OUT.png", help="draw some of the data there")
    add("--superlink", metavar="HOST:PORT", help="the server to join")
    add("--root-certificates", type=_path, metavar="CA.pem", help="the server's authority")
    add("--key", type=_path, help="the node's private key")
    add("--json", action="store_true", help="print one JSON document instead of lines")
    options = parser.parse_args(arguments)
    if options.data and not (options.class_names or options.task):
        parser.error("--data needs --class-names, or --task for a table")
    if options.task and (options.class_names or options.thumbnails):
        parser.error("--class-names and --thumbnails are for pictures, not for --task")
    if not options.data and (options.test_data or options.thumbnails or options.task):
        parser.error("--test-data, --thumbnails and --task need --data")
    if options.image_size and not options.image_channels:
        parser.error("--image-size needs --image-channels, 1 or 3, which the model takes")
    return options


def examine(options: argparse.Namespace) -> Iterator[Finding]:
    """Run the checks that the options ask for, one after another."""
    yield from guarded("python", _python)
    torch = guarded("torch", _torch)
    yield from torch
    yield from guarded("processor", _resources)
    yield from guarded("compiler", _compiler)
    yield from guarded("disk", lambda: _disks(options.data))
    if options.data:
        if any(finding.level == "FAIL" for finding in torch):
            yield Finding("FAIL", "data", "not checked, because PyTorch does not work")
        else:
            yield from guarded("data", lambda: _data(options))
    if options.root_certificates:
        yield from guarded("CA certificate", lambda: _ca(options.root_certificates))
    if options.key:
        yield from guarded("key", lambda: _key(options.key))
    if options.superlink:
        yield from guarded("server", lambda: _server(options))


def as_line(finding: Finding, colour: bool) -> str:
    """Return a finding as a line; a message of several lines is indented."""
    message = finding.message.replace("\n", "\n" + " " * 6)
    mark = f"{_MARKS[finding.level]}{finding.level:4}\x1b[0m" if colour else f"{finding.level:4}"
    return f"{mark}  {finding.check}: {message}"


def _python() -> Iterable[Finding]:
    from scripts.diagnostics.machine import check_python

    return check_python()


def _torch() -> Iterable[Finding]:
    from scripts.diagnostics.machine import check_torch

    return check_torch()


def _resources() -> Iterable[Finding]:
    from scripts.diagnostics.machine import check_resources

    return check_resources()


def _compiler() -> Iterable[Finding]:
    from scripts.diagnostics.machine import check_compiler

    return check_compiler()


def _disks(data: Path | None) -> Iterable[Finding]:
    from scripts.diagnostics.machine import check_disks

    return check_disks(data)


def _data(options: argparse.Namespace) -> Iterable[Finding]:
    if options.task:
        from scripts.diagnostics.table_data import check_table

        return check_table(options.data, options.test_data, options.task)
    from fl_app.data.local_files.loader import OwnDataSpec
    from scripts.diagnostics.data import check_data

    size, (channels, height, width) = options.image_size, options.image_shape
    spec = OwnDataSpec(
        data=options.data,
        test_data=options.test_data,
        class_names=options.class_names,
        image_shape=(options.image_channels or channels, size or height, size or width),
        convert=bool(size or options.image_channels),
        mean=0.0,
        std=1.0,
        holdout_fraction=options.holdout_fraction,
        seed=0,
        participant="doctor",
    )
    return check_data(spec, options.thumbnails)


def _ca(path: Path) -> Iterable[Finding]:
    from scripts.diagnostics.credentials import check_ca

    return check_ca(path)


def _key(path: Path) -> Iterable[Finding]:
    from scripts.diagnostics.credentials import check_key

    return check_key(path)


def _server(options: argparse.Namespace) -> Iterable[Finding]:
    from scripts.diagnostics.server import check_server

    return check_server(options.superlink, options.root_certificates)


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text)).absolute()  # noqa: PTH111 - never raises


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _shape(text: str) -> tuple[int, int, int]:
    try:
        channels, height, width = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1,28,28") from None
    return channels, height, width


if __name__ == "__main__":
    sys.exit(main())
