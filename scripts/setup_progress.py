"""What pip does, a line now and then: `pip install ... | python scripts/setup_progress.py VENV`.

For output that is no terminal, where pip shows no progress bars but some hundred lines.
`scripts/setup.sh` calls it before anything is installed, so it needs the standard library alone.
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

LARGE_MB = 20.0
SILENCE_SECONDS = 20.0

_TO_MB = {"kB": 0.001, "MB": 1.0, "GB": 1000.0}
_COLLECTING = re.compile(r"(?:Collecting|Processing) \S+")
_FILE = re.compile(r"\s+(Downloading|Using cached) (\S+) \(([\d.]+) (kB|MB|GB)\)")
_INSTALLING = re.compile(r"Installing collected packages: (.+)")
# What pip tells of its own work, step by step; everything else is shown.
_STEPS = re.compile(
    r"\s*(?:Downloading|Using cached|Obtaining|Looking in"
    r"|Requirement already satisfied|Installing (?:build|backend) dependencies"
    r"|Checking if build backend|Getting requirements to build|Preparing (?:editable )?metadata"
    r"|Building wheels? for|Building editable|Created wheel for|Stored in directory"
    r"|Attempting uninstall|Found existing installation|Uninstalling|Successfully uninstalled"
    r"|Successfully (?:built|installed))\b"
)
_COLLECTING_STEP = "collecting packages"
# What differs between warnings of one kind.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|/\S+|[\w.+-]*\d[\w.+-]*")


class SetupProgress:
    """Follows pip by its output, and says from time to time how far it is."""

    def __init__(self, venv: Path, output: TextIO) -> None:
        """Set up.

        Args:
            venv: Where pip installs to.
            output: Where to write.
        """
        self._venv = venv
        self._output = output
        self._start = self._last_word = time.monotonic()
        self._step = _COLLECTING_STEP
        self._collected = 0
        self._kinds: set[str] = set()
        self._repeated = 0
        self._lock = threading.Lock()

    def follow(self, lines: Iterable[str]) -> None:
        """Read pip's output to its end."""
        for line in lines:
            with self._lock:
                self._take(line.rstrip())
        if self._repeated:
            self._say(f"pip gave {self._repeated} more warnings of the same kinds")

    def say_if_silent(self) -> None:
        """Say what is under way, if nothing was said for some time."""
        with self._lock:
            now = time.monotonic()
            if now - self._last_word >= SILENCE_SECONDS:
                self._say(f"{now - self._start:.0f} s: {self._step}{self._how_far()}")

    def _take(self, line: str) -> None:
        if found := _FILE.fullmatch(line):
            self._file(found[1], found[2], float(found[3]) * _TO_MB[found[4]])
        elif found := _INSTALLING.fullmatch(line):
            count = found[1].count(",") + 1
            self._step = f"installing {count} packages"
            self._say(f"Installing {count} packages")
        elif _COLLECTING.match(line):
            self._collected += 1
            self._step = _COLLECTING_STEP
        elif line.startswith(("WARNING:", "DEPRECATION:")):
            self._warning(line)
        elif line and not _STEPS.match(line):
            self._say(line)

    def _file(self, verb: str, name: str, megabytes: float) -> None:
        if megabytes >= LARGE_MB:
            self._step = f"{verb.lower()} {name}"
            self._say(f"{verb} {name} ({megabytes:.0f} MB)")

    def _warning(self, line: str) -> None:
        kind = _PARTICULARS.sub("", line)
        if kind in self._kinds:
            self._repeated += 1
        else:
            self._kinds.add(kind)
            self._say(line)

    def _how_far(self) -> str:
        if self._step.startswith("installing"):
            return f", {_gigabytes(self._venv):.1f} GB in {self._venv.name}"
        return f", {self._collected} so far" if self._step == _COLLECTING_STEP else ""

    def _say(self, text: str) -> None:
        self._last_word = time.monotonic()
        print(text, file=self._output, flush=True)


def _gigabytes(folder: Path) -> float:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += Path(parent, name).lstat().st_size
            except OSError:  # pip has moved it
                continue
    return size / 1e9


def main() -> None:
    """Follow the pip whose output is on standard input."""
    # Ctrl-C ends pip, and pip's last words are still to be passed on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    progress = SetupProgress(Path(sys.argv[1]), sys.stdout)

    def watch() -> None:
        while True:
            time.sleep(1.0)
            progress.say_if_silent()

    threading.Thread(target=watch, daemon=True).start()
    progress.follow(sys.stdin)


if __name__ == "__main__":
    main()
