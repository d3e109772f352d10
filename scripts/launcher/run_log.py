"""The log of a run, on its way to the user."""

import re
import signal
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from scripts.processes.flower_cli import RUN_ID
from scripts.processes.signals import StopSignals

ANSI = re.compile(r"\x1b\[[0-9;]*m")
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


_ROUND = re.compile(r"\bround +(\d+)/(\d+) \| (.*)")


_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Display:
    """Prints lines; on a terminal, keeps the round, its score and the time left in sight."""

    def __init__(self, console: Console | None = None) -> None:
        """Set up.

        Args:
            console: Where to print; standard output by default.
        """
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[news]}"),
                TimeElapsedColumn(),
            )
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._task = self._progress.add_task("starting", total=None, news="")

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, line: str) -> None:
        """Print a line of the log, and learn from it how far the run is.

        Raises:
            OSError: If nobody reads the output any more.
        """
        if self._progress is None:
            print(line, end="" if line.endswith("\n") else "\n", flush=True)
            return
        self._console.print(Text.from_ansi(line.rstrip("\n")))
        if found := _ROUND.search(_ANSI.sub("", line)):
            done, total = int(found[1]), int(found[2])
            self._progress.update(
                self._task,
                completed=done,
                total=total,
                description=f"round {min(done + 1, total)}/{total}",
                news=_news(found[3]),
            )


def _news(details: str) -> str:
    """Pick the score and the time left from a round's line."""
    parts = details.split(" | ")
    return ", ".join(part for part in parts if part == parts[0] or part.endswith(" left"))
