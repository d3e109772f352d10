"""Certificates and keys of a federation: `python -m scripts.deployment.certificates --help`.

Three kinds, made in three places:

- `ca`: the certificate authority, on a machine that need not be on the network. Its
  certificate goes to every host, its key to none.
- `server`: the SuperLink's certificate, made next to the authority.
- `node`: a SuperNode's authentication key, made ON the node, which the private half never
  leaves.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.deployment.key_material import (
    CertificateError,
    fingerprint,
    make_authority,
    make_node_key,
    make_server,
)

_LONGEST_DAYS = 36500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    folder: Path = options.folder
    try:
        if options.kind == "ca":
            certificate, key = make_authority(folder, options.days)
            advice = f"copy {certificate} to every host; keep {key} off the network"
        elif options.kind == "server":
            certificate, key = make_server(folder, options.ca, options.host, options.days)
            advice = f"copy {certificate} and {key} to the SuperLink's host, over ssh"
        else:
            key, certificate = make_node_key(folder, options.name)
            advice = (
                f"copy {certificate} to the SuperLink's operator; {key} stays here\n"
                f"the operator runs: flwr supernode register {certificate.name} "
                f"--name {options.name}"
            )
    except (CertificateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"made {certificate} and {key}\n{fingerprint(certificate)}\n{advice}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.deployment.certificates",
        description="Make a federation's certificates and keys.",
        allow_abbrev=False,
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    ca = kinds.add_parser("ca", help="a certificate authority")
    server = kinds.add_parser("server", help="the SuperLink's certificate")
    node = kinds.add_parser("node", help="a SuperNode's authentication key")
    for kind in (ca, server, node):
        kind.add_argument("folder", type=Path, metavar="DIR", help="where the files go")
    for kind, days in ((ca, 3650), (server, 365)):
        kind.add_argument("--days", type=_days, default=days, help=f"validity ({days})")
    server.add_argument("--ca", type=Path, required=True, help="folder of the authority")
    server.add_argument(
        "--host", action="append", required=True, help="DNS name or IP address; repeatable"
    )
    node.add_argument("--name", required=True, type=_node_name, help="the node's name")
    return parser


def _days(text: str) -> int:
    if not 1 <= (value := int(text)) <= _LONGEST_DAYS:
        raise argparse.ArgumentTypeError(f"must be from 1 to {_LONGEST_DAYS}, not {value}")
    return value


def _node_name(text: str) -> str:
    if not text or not all(letter.isalnum() or letter in "-_." for letter in text):
        raise argparse.ArgumentTypeError("use letters, digits, '-', '_' and '.'")
    return text


if __name__ == "__main__":
    sys.exit(main())
