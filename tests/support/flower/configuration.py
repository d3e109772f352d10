"""What the scripts rely on of Flower's configuration: files, pairs and variables."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from scripts.deployment import commands
from scripts.launcher.options import LaunchPlan
from scripts.processes import flower_cli
from scripts.repository import REPOSITORY
from tests.support.flower.reliance import Reliance, contains, found

FILE = REPOSITORY / "README.md"


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


CONFIGURATION = [
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
]
