"""Flower's commands, imported ahead and told later."""

import ast
import shlex
import subprocess
import sys

import pytest

from scripts.processes.preloaded_command import go, load_ahead

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "shown"), [("flwr", "Flower "), ("flower-superexec", "Flower v")])
@pytest.mark.parametrize("told", ["go --version\n", "", "stop --version\n"])
def test_a_command_of_flowers_runs_only_when_it_is_told_to(name, shown, told):
    done = subprocess.run(load_ahead(name), input=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (shown in done.stdout) == (told == "go --version\n")


def test_what_a_command_is_told_arrives_as_it_was_said():
    script = "import sys; print(repr(sys.stdin.readline()))"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    go(process, "--path", "a 'b'")
    assert process.stdout is not None
    with process.stdout as stdout:
        line = ast.literal_eval(stdout.read())
    assert process.wait() == 0
    assert shlex.split(line) == ["go", "--path", "a 'b'"]
