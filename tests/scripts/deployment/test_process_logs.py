"""What is shown of the logs of a federation's processes when one of them has ended."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.deployment.cluster import Federation
from scripts.deployment.federation import Caretaker
from scripts.deployment.plan import Node
from scripts.processes.superlink import Launch, LaunchError

INFO = "\x1b[92mINFO \x1b[0m:      "
WARNING = "\x1b[93mWARNING \x1b[0m:   "
LOG = (
    f"{INFO}SuperNode ID: 40233554038105945\n{INFO}\n{INFO}[RUN 17, ROUND 1]\n"
    f"{INFO}Sending: train message (ID: ab12)\n{INFO}Sent successfully\n"
    f"{WARNING}Connection attempt failed, retrying in 0.89 seconds\n"
)
SHOWN = (
    "SuperNode ID: 40233554038105945\n"
    "WARNING: Connection attempt failed, retrying in 0.89 seconds\n"
)


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    launch = Launch.create()
    yield Federation(launch, tmp_path / "state")
    launch.remove()


def ended() -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process


def test_when_a_node_has_ended_the_end_of_its_log_is_shown_without_its_messages(
    federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    federation.nodes["north"] = ended()
    federation.log_of("north").write_text(LOG, encoding="utf-8")

    Caretaker(federation, [Node("north", {})]).look()

    first, _, rest = capsys.readouterr().err.partition("\n")
    assert first.startswith("warning: SuperNode north has ended")
    assert rest == SHOWN


def test_when_the_superlink_has_ended_its_log_comes_before_the_error(
    federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    federation.superlink = ended()
    federation.log_of("superlink").write_text(LOG, encoding="utf-8")

    with pytest.raises(LaunchError, match=r"^the SuperLink has ended; --resume continues the run$"):
        Caretaker(federation, []).look()
    assert capsys.readouterr().err == f"The end of the SuperLink's log:\n{SHOWN}"
