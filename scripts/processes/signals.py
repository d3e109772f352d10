"""How a launch is asked to end, and what it lets the app save first."""

import os
import signal
import time
from types import FrameType

from scripts.processes.process_tree import find_processes, send
from scripts.processes.superlink import Launch

_SAVING_SECONDS = 5.0


class StopSignals:
    """Counts the signals that ask the launcher to end.

    The handler only takes note, and every wait looks here: an exception out of a handler could
    strike in the middle of the clean-up.
    """

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []

    def install(self) -> None:
        """Take over the signals, but for those that the user had us ignore (nohup)."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._note)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self.received.append(signal.Signals(signum))
        # write, not print: a handler may strike inside a print.
        if len(self.received) == 1:
            os.write(2, b"\nStopping; once more to stop at once.\n")

    def ignore(self) -> None:
        """Ignore them from now on: Python's own ending would let them kill us again."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_IGN)

    def requested(self) -> bool:
        """Whether to end."""
        return bool(self.received)

    def repeated(self) -> bool:
        """Whether to end without further delay."""
        return len(self.received) > 1


def let_app_save(launch: Launch, stop: StopSignals, app: str) -> None:
    """Ask the server's app to end and give it a moment, with all that it needs still there.

    Args:
        launch: Whose processes to look among.
        stop: Cuts the moment short when it is asked for once more.
        app: The command that runs the server's app.
    """
    deadline = time.monotonic() + _SAVING_SECONDS
    told = False
    while time.monotonic() < deadline and not stop.repeated():
        apps = [
            process for process in find_processes(launch.id, os.getpid()) if app in process.command
        ]
        if not apps:
            return
        if not told:
            send(apps, signal.SIGINT)
            told = True
        time.sleep(0.1)
