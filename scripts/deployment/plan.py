"""From the command line to a checked plan of a federation, before anything is started."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.deployment.host_names import host_fault
from scripts.launcher.run_config import UsageError, Value, add_run_options, settle_run_config

_OWN_DATA = "own"
_DEFAULT_HOST = "localhost"


@dataclass(frozen=True)
class Node:
    """One SuperNode.

    Attributes:
        name: Names its key, its log and, with own data, the participant.
        config: What `flower-supernode --node-config` gets.
    """

    name: str
    config: Mapping[str, Value]

    @property
    def config_argument(self) -> str:
        """The node config as one argument: space-separated pairs of TOML."""
        pairs = (f"{key}={json.dumps(value)}" for key, value in self.config.items())
        return " ".join(pairs)


@dataclass(frozen=True)
class FederationPlan:
    """Everything that a federation needs.

    Attributes:
        app: Folder of the Flower app.
        overrides: Run-config keys that differ from the app's defaults; paths are absolute.
        nodes: The SuperNodes to start.
        hosts: Names and addresses under which the SuperLink is to be reached.
        state: Keeps certificate authority, keys and database; `None` is a temporary folder.
        only_print: Whether to print an operator's commands and start nothing.
        flwr_arguments: Further arguments for `flwr run`.
    """

    app: Path
    overrides: Mapping[str, Value]
    nodes: tuple[Node, ...]
    hosts: tuple[str, ...]
    state: Path | None
    only_print: bool
    flwr_arguments: tuple[str, ...] = ()


def plan_federation(arguments: Sequence[str], cwd: Path) -> FederationPlan:
    """Read and check the command line.

    Args:
        arguments: Command line without the program's name.
        cwd: Folder against which relative paths are resolved.

    Raises:
        UsageError: If the configuration is not valid.
        SystemExit: From argparse, on `--help` and on malformed options.
    """
    options, rest = _parser().parse_known_args(arguments)
    own = tuple(_own_node(text, cwd, check=not options.print) for text in options.node)
    for host in options.host or []:
        if fault := host_fault(host):
            raise UsageError(f"--host {host!r}: {fault}")
    imposed: dict[str, Value] = {}
    if own:
        if options.participants not in (None, len(own)):
            raise UsageError(f"--participants {options.participants}, but {len(own)} times --node")
        _refuse_equal_names(own)
        imposed = {"dataset": _OWN_DATA, "num-participants": len(own)}
    app, overrides, fused = settle_run_config(options, cwd, imposed, elsewhere=options.print)
    if not own and fused.get("dataset") == _OWN_DATA:
        raise UsageError("with dataset = 'own', name each participant's data: --node NAME=PATH")
    return FederationPlan(
        app=app,
        overrides=overrides,
        nodes=own or _numbered_nodes(int(fused.get("num-participants", 2))),
        hosts=tuple(options.host or [_DEFAULT_HOST]),
        state=None if options.state is None else (cwd / Path(options.state).expanduser()).resolve(),
        only_print=options.print,
        flwr_arguments=tuple(rest),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/federation",
        description="Train with federated averaging over TLS: a SuperLink and SuperNodes as "
        "processes of their own, each node with a key of its own, here on this machine.",
        epilog="Any further option goes to `flwr run`. Example: "
        "scripts/federation --node north=~/north --node south=~/south "
        "-c 'class-names=\"cat,dog\"'. On real hosts: add --print, and read docs/deployment.md.",
        allow_abbrev=False,
    )
    add_run_options(parser)
    add = parser.add_argument
    add(
        "--node",
        action="append",
        default=[],
        metavar="NAME=DATA",
        help="a participant with data of its own: its name, and the folder or file; repeatable",
    )
    add(
        "--host",
        action="append",
        metavar="HOST",
        help="DNS name or IP address to put into the server's certificate; repeatable",
    )
    add(
        "--state",
        metavar="DIR",
        help="keep certificate authority, keys and database there, for the next time "
        "(default: a temporary folder)",
    )
    add(
        "--print",
        action="store_true",
        help="start nothing; print the commands that an operator runs on real hosts",
    )
    return parser


def _own_node(text: str, cwd: Path, check: bool) -> Node:
    name, equals, data = text.partition("=")
    if not equals or not name or not data:
        raise UsageError(f"--node {text!r} is not of the form NAME=DATA")
    if not all(letter.isalnum() or letter in "-_." for letter in name) or name[0] == ".":
        raise UsageError(f"--node: in the name {name!r}, use letters, digits, '-', '_' and '.'")
    path = (cwd / Path(data).expanduser()).resolve() if check else Path(data)
    if check and not path.exists():
        raise UsageError(f"--node: the data of {name}, {path}, is not there")
    # Flower reads the node config with a pattern that knows no escapes.
    if set(str(path)) & set("\"'\\") or not str(path).isprintable():
        raise UsageError(f"--node: Flower cannot carry quotes or backslashes in a path: {path}")
    return Node(name, {"name": name, "data": str(path)})


def _refuse_equal_names(nodes: Sequence[Node]) -> None:
    names = [node.name for node in nodes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--node: the name {twice[0]} is given twice")


def _numbered_nodes(count: int) -> tuple[Node, ...]:
    return tuple(
        Node(f"node-{index}", {"partition-id": index, "num-partitions": count})
        for index in range(count)
    )
