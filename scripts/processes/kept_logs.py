"""Logs of a launch that are kept when its folder goes, for whoever looks for what went wrong."""

import shutil
from pathlib import Path

from scripts.processes.superlink import Launch


def keep_logs(launch: Launch, logs: Path) -> Path | None:
    """Move logs to where they stay, for nobody but the user to read: they name files and people.

    Args:
        launch: Whose logs they are.
        logs: A log, or a folder of logs, in the launch's folder.

    Returns:
        Its new path; `None` if there is no log, or it cannot be moved.
    """
    kept = launch.folder.parent / f"delta-fedavg-{launch.id}-logs"
    try:
        for file in [logs, *logs.glob("*")]:
            file.chmod(0o700 if file.is_dir() else 0o600)
        kept.mkdir(mode=0o700)
        return Path(shutil.move(logs, kept / logs.name))
    except OSError:
        return None
