"""The log of a run, on its way to the user, and what is said when the run has ended."""

import os
import re
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from scripts.launcher.flower_lines import LineFilter, LogLine
from scripts.processes.flower_cli import RUN_ID
from scripts.processes.signals import StopSignals

RESULTS = re.compile(r"\bresults: (/.*\S)")
_ROUND = re.compile(r"\bround +(\d+)/(\d+) \| (.*)")
# What the server logs of a node that did not do what it was asked; the node's own log says why.
_NODE_FAILED = re.compile(
    r"\bround \S+: participant .+ did not (?:train|evaluate): "
    r"|\bnode \d+ is left out, it "
    r"|\bupdate of participant .+ refused: "
)
# A run that has no rounds left and has gained nothing: resumed as it is, it would end at once.
_ROUNDS_IN_VAIN = re.compile(r"\ball (\d+) rounds are done, but no round changed")
_CHECKPOINT = "checkpoint.safetensors"


class RunLog:
    """Passes a run's log on to the user, and picks out what the command needs to know.

    Attributes:
        run_id: Flower's number of the run, once it has started.
        results: The run directory, once it is known.
        node_failed: Whether a node has failed so far, in any round.
    """

    def __init__(self, stop: StopSignals) -> None:
        self._stop_signals = stop
        self._thread: threading.Thread | None = None
        self.run_id: str | None = None
        self.results: Path | None = None
        self.node_failed = False
        self._rounds_in_vain = 0

    def follow(self, stream: IO[str]) -> None:
        """Pass a log on, in the background, until it ends."""
        self._thread = threading.Thread(target=self._copy, args=(stream, Display()), daemon=True)
        self._thread.start()

    def wait(self, seconds: float = 5.0) -> None:
        """Wait for the log's end, but no longer than this."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _copy(self, stream: IO[str], display: "Display") -> None:
        with display:
            for raw in stream:
                if not self._learn_from(LogLine.read(raw).text):
                    continue
                try:
                    display.show(raw)
                except OSError:  # nobody reads our output any more
                    self._stop_signals.received.append(signal.SIGPIPE)
                    return

    def _learn_from(self, text: str) -> bool:
        """Take what the command needs from a line; return whether it is news to the user."""
        if found := RUN_ID.search(text):
            self.run_id = found[1]
        self.node_failed = self.node_failed or _NODE_FAILED.search(text) is not None
        if found := _ROUNDS_IN_VAIN.search(text):
            self._rounds_in_vain = int(found[1])
        if found := RESULTS.search(text):
            known, self.results = self.results, Path(found[1])
            # The app closes with the line that it began with, and so does the command.
            return known != self.results
        return True

    def tell_end(self, problem: str | None, resume: str) -> None:
        """Say last where the results are, how to continue a run that was cut short, what failed.

        Args:
            problem: Why the run failed; `None` if it was completed, or stopped by the user.
            resume: The command that continues it, but for the run directory.
        """
        results, stopped = self.results, self._stop_signals.requested()
        try:
            if results is not None:
                if (stopped or problem) and (results / _CHECKPOINT).is_file():
                    more = f" -c num-server-rounds={2 * self._rounds_in_vain}"
                    more = more if self._rounds_in_vain else ""
                    print(f"To continue: {resume} --resume {results}{more}", flush=True)
                print(f"Results: {results}", flush=True)
            elif stopped:
                print("Stopped before there were results.", flush=True)
        except OSError:  # nobody reads our output any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if problem:
            print(f"error: {problem}", file=sys.stderr, flush=True)


def wants_colour(terminal: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether to print colours: on a terminal, unless NO_COLOR or FORCE_COLOR decide it.

    Args:
        terminal: Whether the output is a terminal that knows colours.
        environment: Where the two are looked up; empty counts as not set.
    """
    if environment.get("NO_COLOR"):
        return False
    return terminal or bool(environment.get("FORCE_COLOR"))


class Display:
    """Prints lines; on a terminal, keeps the round, its score and the time left in sight."""

    def __init__(self, console: Console | None = None) -> None:
        """Set up.

        Args:
            console: Where to print; standard output by default.
        """
        # FORCE_COLOR is about colours: what moves the cursor is for terminals alone.
        self._console = console or Console(
            highlight=False, soft_wrap=True, force_terminal=sys.stdout.isatty()
        )
        self._colour = wants_colour(self._console.is_interactive)
        self._filter = LineFilter()
        self._progress: Progress | None = None
        if self._console.is_interactive:
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

    def show(self, raw: str) -> None:
        """Print a line of the log if it concerns the user, and learn how far the run is.

        Raises:
            OSError: If nobody reads the output any more.
        """
        line = LogLine.read(raw)
        if not self._filter.passes(line):
            return
        if self._progress is None:
            print(line.shown(self._colour), flush=True)
            return
        self._console.print(Text.from_ansi(line.shown(self._colour)))
        if found := _ROUND.search(line.text):
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
