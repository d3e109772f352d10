"""The federation command without a federation: `--print`."""

import shlex
import subprocess

import pytest

from scripts.deployment.federation import main

# Flower's command line imports what its own dependency deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")


def test_print_starts_nothing_and_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print", "--participants", "2", "--host", "fl.example.org"]) == 0

    printed = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=printed, text=True, check=True)
    commands = [shlex.split(line)[0] for line in printed.splitlines() if line.startswith("fl")]
    assert commands.count("flower-superlink") == 1
    assert commands.count("flower-supernode") == 2
    assert commands.count("flwr") == 3  # registers two nodes, and runs
    assert "--host fl.example.org" in printed
