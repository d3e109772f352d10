"""Where results go that the run directory does not take: a full disk, lost permissions."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from fl_app.results.records import names_by_reason

Write = Callable[[Path], None]
"""Writes one file to the path that it is given, or raises `OSError`."""

_PREFIX = "delta-fedavg-rescued-"


class SecondPlace:
    """A private folder in the system's temporary one, or else in the user's home.

    Attributes:
        tried: The folders in which a file was tried, in this order.
        now: Where a file is, by its name; those that no folder took are missing.
    """

    def __init__(self) -> None:
        self.tried: list[Path] = []
        self.now: dict[str, Path] = {}

    def take(self, files: Mapping[str, Write]) -> None:
        """Write files that are not here yet.

        Args:
            files: What writes each, by its name, the most important first.
        """
        for base in _bases():
            missing = {name: write for name, write in files.items() if name not in self.now}
            if missing:
                self._write_below(base, missing)

    def tell(self, directory: Path, reasons: Mapping[str, str]) -> str:
        """Say which files are not in the run directory, why, and where they are.

        Args:
            directory: The run directory.
            reasons: Why a file is not there, by its name.
        """
        parts = [f"not written to {directory}: {_listed(reasons)}"]
        for folder in self.tried:
            here = [name for name in reasons if self.now.get(name) == folder / name]
            parts += [f"now in {folder}: {', '.join(here)}"] if here else []
        if lost := [name for name in reasons if name not in self.now]:
            also = f" (also tried: {', '.join(map(str, self.tried))})" if self.tried else ""
            parts.append(f"nowhere on disk{also}: {', '.join(lost)}")
        return "; ".join(parts)

    def _write_below(self, base: Path, files: Mapping[str, Write]) -> None:
        known = [folder for folder in self.tried if folder.parent == base and folder.is_dir()]
        try:
            folder = known[0] if known else Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        except OSError:
            self.tried.append(base)
            return
        if not known:
            self.tried.append(folder)
        for name, write in files.items():
            try:
                write(folder / name)
                self.now[name] = folder / name
            except OSError:
                (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def _bases() -> list[Path]:
    bases = []
    for find in (tempfile.gettempdir, Path.home):
        try:
            bases.append(Path(find()))
        except (OSError, RuntimeError):  # there is none
            continue
    return bases


def _listed(reasons: Mapping[str, str]) -> str:
    """Return the names with their reasons; a reason that several have is said once."""
    by_reason = names_by_reason(reasons).items()
    return ", ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason)
