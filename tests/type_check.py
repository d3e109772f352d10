"""mypy beside the tests: `pytest -p tests.type_check`.

What it finds comes before pytest's closing line, and fails the run.
"""

import subprocess
import sys

import pytest


class TypeCheck:
    """One run of mypy, under way while the tests run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mypy"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._found = ""

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._found, _ = self._process.communicate()
        if self._process.returncode and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("mypy")
        terminalreporter.write(self._found)

    def pytest_unconfigure(self) -> None:
        if self._process.poll() is None:  # the tests were broken off
            self._process.kill()
            self._process.communicate()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # once, and not in every process of xdist
        config.pluginmanager.register(TypeCheck())
