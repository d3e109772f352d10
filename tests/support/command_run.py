"""A command of `scripts/` under way as a user starts it, and what it leaves behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from scripts.processes.process_tree import LAUNCH_ID_VARIABLE, find_processes
from scripts.repository import REPOSITORY

_MARK = re.compile(rf"{LAUNCH_ID_VARIABLE}=(\w+)".encode())
PATIENCE = 600.0  # seconds; a busy machine is slow, and only what hangs waits so long


class CommandRun:
    """A command that launches a federation, started in a folder that has nothing to do with it.

    Attributes:
        cwd: Where it was started.
        home: The home of the user who started it.
        process: The command itself.
        launch_id: Marks what it starts.
    """

    def __init__(self, module: str, *arguments: str, folder: Path) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # As a shell has it for what runs in its background: the command would ignore it, too.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.cwd = folder
        self.cwd.mkdir()
        self.home = self.cwd / "home"
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "HOME": str(self.home)}
        environment.pop(LAUNCH_ID_VARIABLE, None)
        with (self.cwd / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                cwd=self.cwd,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.launch_id = self._wait_for_launch()

    def output(self) -> str:
        return (self.cwd / "log").read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> str:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output())):
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)
        return found[found.lastindex or 0]

    def finish(self, seconds: float = PATIENCE) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(seconds)

    def abandon(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # its watchdog does the rest
            self.process.wait()

    def traces(self) -> list[object]:
        """What the launch left behind: processes and temporary folders."""
        folders = Path("/tmp").glob(f"dfa-{self.process.pid}-*")
        return [*find_processes(self.launch_id), *folders]

    def _wait_for_launch(self) -> str:
        """Return the mark that its processes carry; "" if it ends without having any."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            for process in find_processes("", ancestor=self.process.pid):
                with contextlib.suppress(OSError):  # it has ended
                    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
                    if found := _MARK.search(environment):
                        return found[1].decode()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)
        return ""
