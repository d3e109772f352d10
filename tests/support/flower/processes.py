"""What the scripts rely on of Flower's commands, configuration and printed texts."""

import os
import re
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import click

from scripts.deployment import commands
from scripts.diagnostics import server as doctor_server
from scripts.launcher.options import LaunchPlan
from scripts.processes import flower_cli
from scripts.processes.superlink import superlink_command
from scripts.repository import REPOSITORY
from tests.support.flower.reliance import FLOWER, Reliance, contains, found, source

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


def _outcome() -> None:
    constants, run_module = found("flwr.common.constant"), found("flwr.supercore.run")
    run = run_module.Run.create_empty(7)
    ending = (constants.Status.FINISHED, constants.SubStatus.COMPLETED, "details")
    run.status = run_module.RunStatus(*ending)
    rows = found("flwr.cli.run_utils:format_runs")([run], "2026-01-01T00:00:00+00:00")
    printed = "a warning\n" + found("flwr.cli.ls:_to_json")(rows)
    assert flower_cli.read_outcome(printed) == (flower_cli.COMPLETED, "details")


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


def _ray() -> None:
    path = flower_cli.RAY_ACTOR_MODULE.removeprefix("flwr.").replace(".", "/") + ".py"
    assert (FLOWER / path).is_file()
    backend = "server/superlink/fleet/vce/backend/raybackend.py"
    contains(backend, flower_cli.RAY_ACTOR_MODULE.rpartition(".")[0])


def _ray_environment() -> None:
    text = " ".join(source("server/superlink/fleet/vce/backend/raybackend.py").split())
    (arguments,) = re.findall(r"ray\.init\((.*?)\)", text)
    wanted = 'runtime_env={"env_vars": {"PYTHONPATH": pythonpath}}, **ray_init_args,'
    assert arguments.strip() == wanted, f"it calls ray.init({arguments})"


@contextmanager
def _home(config: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.toml").write_text(config, encoding="utf-8")
        with mock.patch.dict(os.environ, {flower_cli.HOME_VARIABLE: folder}):
            yield


def _connection() -> None:
    read = "flwr.cli.flower_config:read_superlink_connection"
    with _home(flower_cli.connection_toml("here", "127.0.0.1:1", "insecure = true")):
        for name in (None, "here"):
            plain = found(read)(name)
            assert (plain.address, plain.insecure) == ("127.0.0.1:1", True)
    with _home(commands.connection_toml("host:2", FILE)):
        secure = found(read)(commands.CONNECTION)
    assert (secure.address, secure.root_certificates) == ("host:2", str(FILE))


def _default_home() -> None:
    with mock.patch.dict(os.environ):
        os.environ.pop(flower_cli.HOME_VARIABLE, None)
        home = found("flwr.supercore.utils:get_flwr_home")()
    assert home == Path.home() / flower_cli.DEFAULT_HOME


def _variables() -> None:
    name = found("flwr.supercore.constant:FLWR_DISABLE_UPDATE_CHECK")
    assert name == flower_cli.UPDATE_CHECK_VARIABLE
    contains("supercore/telemetry.py", f'os.getenv("{flower_cli.TELEMETRY_VARIABLE}", "1")')
    contains("supercore/update_check.py", 'os.getenv(FLWR_DISABLE_UPDATE_CHECK) == "1"')


def _poll_interval() -> None:
    name = found("flwr.supercore.superexec.run_superexec:_TASK_POLL_INTERVAL_ENV")
    assert name == flower_cli.POLL_INTERVAL_VARIABLE


def _run_started() -> None:
    text = source("cli/run/run.py").replace("{res.run_id}", "7")
    match = flower_cli.RUN_ID.search(text)
    assert match is not None, f"flwr/cli/run/run.py does not print {flower_cli.RUN_STARTED!r}"
    assert match[1] == "7"


def _federation_config() -> None:
    plan = LaunchPlan(REPOSITORY, {}, 3, 2, 0.5)
    parse = found("flwr.cli.run.run:_parse_federation_config_overrides")
    sizes = parse([plan.federation_config], mock.Mock(options=None))
    found_sizes = (sizes.num_supernodes, sizes.client_resources_num_cpus)
    assert (*found_sizes, sizes.client_resources_num_gpus) == (3, 2, 0.5)
    names = [field.name.replace("_", "-") for field in sizes.DESCRIPTOR.fields]
    assert len([name for name in names if name.startswith(f"{flower_cli.INIT_ARGS}-")]) == 4, names


def _pairs() -> None:
    text = "a=1 junk b='two words' c=\"x\" d=1.5 e=true"
    read = flower_cli.parse_run_config(text)
    assert read == {"a": 1, "b": "two words", "c": "x", "d": 1.5, "e": True}
    assert flower_cli.PAIR.sub("", text).split() == ["junk"]


def _declared() -> None:
    assert flower_cli.default_config(REPOSITORY)["num-server-rounds"] == 10
    assert found("flwr.common.constant:FAB_INCLUDE_KEY") == "fab-include"
    try:
        flower_cli.default_config(REPOSITORY / "docs")
    except (OSError, ValueError):
        return
    raise AssertionError("a folder without an app has a run config")


def _tls() -> None:
    contains(
        "supercore/protobuf/client.py",
        "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
        'load_verify_locations(cadata=root_certificates.decode("ascii"))',
        "import httpx",
    )


def _clock() -> None:
    constants = found("flwr.superlink.routers.fleet.node_auth")
    ahead = constants.SYSTEM_TIME_TOLERANCE
    behind = constants.TIMESTAMP_TOLERANCE + constants.SYSTEM_TIME_TOLERANCE
    # A second is lost in the Date header.
    assert (ahead + 1, behind - 1) == (doctor_server._MOST_AHEAD, doctor_server._MOST_BEHIND)


def _node_key() -> None:
    contains(
        "supernode/cli/flower_supernode.py",
        "load_ssh_private_key(",
        "isinstance(ssh_private_key, ec.EllipticCurvePrivateKey)",
    )


PROCESSES = [
    Reliance("flwr run", "submit a run", _run, ("run_arguments",)),
    Reliance("flwr list", "ask how a run ended", _list, ("listing_arguments",)),
    Reliance(
        "the JSON that `flwr list` prints",
        "know whether a run was completed",
        _outcome,
        ("read_outcome", "COMPLETED"),
    ),
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
    Reliance(
        "the module of Ray's actors",
        "let Ray's workers load Flower ahead",
        _ray,
        ("RAY_ACTOR_MODULE",),
    ),
    Reliance(
        "how a simulation starts Ray",
        "have it join a Ray that runs already, with workers that fit",
        _ray_environment,
    ),
    Reliance(
        "Flower's configuration file",
        "name a SuperLink to `flwr`",
        _connection,
        ("connection_toml", "HOME_VARIABLE"),
    ),
    Reliance("Flower's folder", "look at the room on its disk", _default_home, ("DEFAULT_HOME",)),
    Reliance(
        "the variables that switch telemetry and update check off",
        "send nothing elsewhere",
        _variables,
        ("TELEMETRY_VARIABLE", "UPDATE_CHECK_VARIABLE"),
    ),
    Reliance(
        "the variable of SuperExec's poll interval",
        "wait a tenth of a second for work and not a whole one",
        _poll_interval,
        ("POLL_INTERVAL_VARIABLE",),
    ),
    Reliance(
        "the address of the health check",
        "know when a SuperLink is up",
        lambda: contains(
            "supercore/routers/health/router.py", f'@router.get("{flower_cli.HEALTH_PATH}"'
        ),
        ("HEALTH_PATH",),
    ),
    Reliance(
        "the line that says that a run was accepted",
        "learn its id",
        _run_started,
        ("RUN_STARTED", "RUN_ID"),
    ),
    Reliance(
        "the line that says that a simulation begins",
        "measure the start by stages",
        lambda: contains("simulation/app.py", f'"{flower_cli.SIMULATION_STARTED}"'),
        ("SIMULATION_STARTED",),
    ),
    Reliance(
        "the message that a public key is in use",
        "register a node again without an error",
        lambda: contains("supercore/error/catalog.py", f'public_message="{flower_cli.KEY_IN_USE}'),
        ("KEY_IN_USE",),
    ),
    Reliance(
        "the federation config's keys",
        "say how large a simulation is, and see who changes how Ray starts",
        _federation_config,
        ("INIT_ARGS",),
    ),
    Reliance(
        "how Flower reads key=value pairs",
        "refuse what it would ignore in silence",
        _pairs,
        ("PAIR", "parse_run_config"),
    ),
    Reliance(
        "how Flower reads an app's pyproject.toml",
        "check the run config before anything starts, and copy what is bundled",
        _declared,
        ("default_config",),
    ),
    Reliance("how Flower's client trusts a server", "rehearse the connection", _tls),
    Reliance("how far clocks may differ", "warn a node before it is refused", _clock),
    Reliance("how a SuperNode reads its key", "find a wrong key before it starts", _node_key),
]
