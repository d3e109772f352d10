"""All that the scripts know of Flower's command line, its processes and what they print.

None of it is promised by Flower. It is apart from `fl_app.messaging.flower_compat` because that
imports Flower, for 0.4 s of processor time: the doctor runs where Flower is not installed, the
launcher refuses a wrong option before it imports anything, and a process that loads a command
ahead loads nothing else. Here Flower is imported when a function needs it. Each name and text has
a case in `tests/fl_app/messaging/test_flower_compat.py`, and so have the command lines that
`scripts.processes.superlink`, `scripts.launcher.simulate` and `scripts.deployment.commands` make,
by Flower's own parsers.
"""

import json
import re
from pathlib import Path
from typing import Any

LOADABLE_COMMANDS = {
    "flwr": ("flwr.cli.app", "app"),
    "flower-superexec": ("flwr.supercore.cli.flower_superexec", "flower_superexec"),
}
"""Commands that can be loaded ahead: module, and the function in it that runs the command."""

RAY_ACTOR_MODULE = "flwr.simulation.ray_transport.ray_actor"
"""What every Ray worker of a simulation loads before the app."""

SUPERLINK_PROCESS, SUPERNODE_PROCESS = "flower-superlink", "flower-supernode"
SUPEREXEC_PROCESS = "flower-superexec"
"""The command that starts the processes of an app for a SuperLink."""

SIMULATION_PROCESS, SERVER_APP_PROCESS = "flwr-simulation", "flwr-serverapp"
"""The commands that run the server's app: in a simulation, and in deployment."""

HOME_VARIABLE, DEFAULT_HOME = "FLWR_HOME", ".flwr"
"""What names Flower's folder, and where in the user's home it is by default."""

TELEMETRY_VARIABLE, UPDATE_CHECK_VARIABLE = "FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK"
"""With "0" and "1", nothing leaves this machine but what a run sends."""

POLL_INTERVAL_VARIABLE = "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"
"""Seconds between two looks of SuperExec's for work."""

HEALTH_PATH = "/health"
"""Answered with status 200 by a SuperLink that is up."""

RUN_STARTED = "Successfully started run"
"""Printed by `flwr run` before the run's id, and only if the run was accepted."""

RUN_ID = re.compile(rf"{RUN_STARTED} (\d+)")

SIMULATION_STARTED = "Starting Flower Simulation"
"""Logged by a simulation when its process has loaded."""

KEY_IN_USE = "Public key already in use"
"""Printed by `flwr supernode register` where the node is known already."""

COMPLETED = "finished:completed"
"""The status that `flwr list` gives a run that was completed."""

INIT_ARGS = "init-args"
"""Begins every key of the federation config that changes how Flower starts Ray."""

PAIR = re.compile(r"\S+?=('[^']*'|\"[^\"]*\"|\S+)")
"""What Flower takes for a key=value pair, in run and node configs; it knows no escapes."""


def connection_toml(name: str, address: str, trust: str) -> str:
    """Return a configuration of Flower's that names one SuperLink, the default.

    Args:
        name: What the commands of `flwr` call it.
        address: Its host and port.
        trust: A line of TOML: `insecure = true`, or the path of `root-certificates`.
    """
    head = f'[superlink]\ndefault = "{name}"\n\n[superlink.{name}]\n'
    return f'{head}address = "{address}"\n{trust}\n'


def run_arguments(
    app: str, connection: str, config: str, federation_config: str | None = None
) -> list[str]:
    """Return the arguments of `flwr` that submit an app and print its log until it ends.

    Args:
        app: Its folder.
        connection: The SuperLink's, see `connection_toml`.
        config: The run config, a TOML file: Flower takes either one file or pairs, never both.
        federation_config: Size and resources of a simulation, as pairs.
    """
    arguments = ["run", app, connection, "--stream", "--run-config", config]
    if federation_config is not None:
        arguments += ["--federation-config", federation_config]
    return arguments


def superexec_arguments(superlink: str, superlink_pid: int) -> list[str]:
    """Return the arguments of SuperExec that make it work for a SuperLink, and end with it."""
    arguments = ["--insecure", "--runtime-api-address", superlink]
    return [*arguments, "--parent-pid", str(superlink_pid)]


def listing_arguments(connection: str, run_id: str) -> list[str]:
    """Return the arguments of `flwr` that make it print what `read_outcome` reads."""
    return ["list", connection, "--run-id", run_id, "--format", "json"]


def read_outcome(listing: str) -> tuple[str, str]:
    """Return a run's status, such as `COMPLETED`, and the details of it.

    Args:
        listing: What `flwr list` printed; there may be warnings before the JSON.

    Raises:
        ValueError, LookupError, TypeError: If it does not say.
    """
    run = json.loads(listing[listing.index("{") :])["runs"][0]
    return run["status"], run.get("status-details", "")


def default_config(app: Path) -> dict[str, Any]:
    """Return the run config that an app's pyproject.toml declares, flat.

    Raises:
        OSError, ValueError: If there is no app, or Flower would not take it.
    """
    from flwr.common.config import flatten_dict, get_project_config

    return dict(flatten_dict(get_project_config(app)["tool"]["flwr"]["app"].get("config", {})))


def parse_run_config(text: str) -> dict[str, Any]:
    """Read the key=value pairs that `flwr run --run-config` takes.

    Flower ignores what is no pair, without a word; `PAIR` finds it.

    Raises:
        Exception: Those of Flower's command line, if the values are not TOML.
    """
    from flwr.common.config import parse_config_args

    return dict(parse_config_args([text]))
