"""What the scripts rely on of Flower's commands and their options."""

from argparse import ArgumentParser
from importlib.metadata import entry_points
from typing import Any, NoReturn
from unittest import mock

import click

from scripts.deployment import commands
from scripts.processes import flower_cli
from scripts.processes.superlink import superlink_command
from scripts.repository import REPOSITORY
from tests.support.flower.reliance import Reliance, found

FILE, FOLDER = REPOSITORY / "README.md", REPOSITORY


def _flwr(*arguments: str) -> dict[str, Any]:
    """Parse a command line of `flwr` without running it."""
    command: click.Command = found("flwr.cli.app:typer_click_object")
    context, left = click.Context(command), list(arguments)
    while isinstance(command, click.Group) or hasattr(command, "get_command"):
        inner = command.get_command(context, left.pop(0))
        assert inner is not None, arguments
        command = inner
    return command.make_context("flwr", left).params


def _argparse(path: str, arguments: list[str]) -> Any:
    parser: ArgumentParser = found(path)()

    def refuse(message: str) -> NoReturn:
        raise ValueError(message)  # it would end the process

    with mock.patch.object(parser, "error", refuse):
        return parser.parse_args(arguments)


def _run() -> None:
    arguments = flower_cli.run_arguments("app", "here", "c.toml", "num-supernodes=3")
    given = _flwr(*arguments)
    assert given["superlink"] == "here"
    assert given["stream"] is True
    assert given["run_config_overrides"] == ("c.toml",)
    assert given["federation_config_overrides"] == ("num-supernodes=3",)


def _list() -> None:
    given = _flwr(*flower_cli.listing_arguments("here", "7"))
    assert (given["superlink"], given["run_id"], given["output_format"]) == ("here", 7, "json")


def _register() -> None:
    name, *arguments = commands.register(FILE, "north")
    given = _flwr(*arguments)
    assert name == "flwr"
    assert (str(given["public_key"]), given["name"]) == (str(FILE), "north")


def _superexec() -> None:
    arguments = flower_cli.superexec_arguments("127.0.0.1:1", 7)
    given = _argparse("flwr.supercore.cli.flower_superexec:_parse_args", arguments)
    assert (given.insecure, given.runtime_api_address, given.parent_pid) == (True, "127.0.0.1:1", 7)


def _superlink() -> None:
    parser = "flwr.superlink.cli.flower_superlink:_parse_args_run_superlink"
    simulated = _argparse(parser, superlink_command(9000)[1:])
    assert (simulated.insecure, simulated.simulation, simulated.port) == (True, True, 9000)
    assert simulated.isolation == "process"
    name, *arguments = commands.superlink(FILE, FOLDER, FILE, "0.0.0.0", 8000)
    given = _argparse(parser, arguments)
    assert name == flower_cli.SUPERLINK_PROCESS
    assert given.enable_supernode_auth is True
    assert given.database == str(FILE)
    for each in (simulated, given):
        assert each.runtime_dependency_install is False


def _supernode() -> None:
    name, *arguments = commands.supernode(FILE, FILE, "host:1", 9000, 'name="north"')
    given = _argparse("flwr.supernode.cli.flower_supernode:_parse_args_run_supernode", arguments)
    assert name == flower_cli.SUPERNODE_PROCESS
    assert (given.superlink, given.port, given.node_config) == ("host:1", 9000, 'name="north"')
    assert given.auth_supernode_private_key == str(FILE)


def _commands_exist() -> None:
    installed = {entry.name: entry for entry in entry_points(group="console_scripts")}
    for name in (
        *(flower_cli.SUPERLINK_PROCESS, flower_cli.SUPERNODE_PROCESS),
        *(flower_cli.SUPEREXEC_PROCESS, flower_cli.SIMULATION_PROCESS),
        flower_cli.SERVER_APP_PROCESS,
    ):
        assert name in installed, f"there is no command {name}"
    for name, (module, attribute) in flower_cli.LOADABLE_COMMANDS.items():
        assert installed[name].load() is found(f"{module}:{attribute}")


def _app_processes() -> None:
    started = set(found("flwr.supercore.constant:TASK_TYPE_TO_COMMAND").values())
    assert {flower_cli.SIMULATION_PROCESS, flower_cli.SERVER_APP_PROCESS} <= started


COMMANDS = [
    Reliance("flwr run", "submit a run", _run, ("run_arguments",)),
    Reliance("flwr list", "ask how a run ended", _list, ("listing_arguments",)),
    Reliance("flwr supernode register", "make nodes known to a SuperLink", _register),
    Reliance(
        "flower-superexec's options",
        "start the processes of an app sooner",
        _superexec,
        ("superexec_arguments",),
    ),
    Reliance("flower-superlink's options", "start a SuperLink", _superlink),
    Reliance("flower-supernode's options", "start SuperNodes", _supernode),
    Reliance(
        "the commands that Flower installs",
        "start them, load them ahead, and know them in a list of processes",
        _commands_exist,
        ("LOADABLE_COMMANDS", "SUPERLINK_PROCESS", "SUPERNODE_PROCESS", "SUPEREXEC_PROCESS"),
    ),
    Reliance(
        "the commands that SuperExec starts",
        "ask the server's app to save before it ends",
        _app_processes,
        ("SIMULATION_PROCESS", "SERVER_APP_PROCESS"),
    ),
]
