"""The log of a run, on its way to the user."""

import re
import signal
import threading
from pathlib import Path
from typing import IO

from scripts.display import Display
from scripts.stopping import StopSignals

ANSI = re.compile(r"\x1b\[[0-9;]*m")
RUN_ID = re.compile(r"Successfully started run (\d+)")
RESULTS = re.compile(r"\bresults: (/.*\S)")


class RunLog(threading.Thread):
    """Passes a run's log on to the user, and picks out what the launcher needs to know."""

    def __init__(self, stream: IO[str], stop: StopSignals) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._display = Display()
        self._stop_signals = stop
        self.run_id: str | None = None
        self.results: Path | None = None

    def run(self) -> None:
        """Copy line by line until the stream ends."""
        with self._display:
            self._copy()

    def _copy(self) -> None:
        for line in self._stream:
            plain = ANSI.sub("", line)
            if found := RUN_ID.search(plain):
                self.run_id = found[1]
            if found := RESULTS.search(plain):
                self.results = Path(found[1])
            try:
                self._display.show(line)
            except OSError:  # nobody reads our output any more
                self._stop_signals.received.append(signal.SIGPIPE)
                return
