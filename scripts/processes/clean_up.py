"""The end of a launch: its processes and its folder go, and its logs are kept if asked for."""

import os
import shutil
import sys
from pathlib import Path

from scripts.processes.process_tree import end_processes, reap_children
from scripts.processes.signals import StopSignals
from scripts.processes.superlink import Launch


def clean_up(launch: Launch, stop: StopSignals, logs: Path | None) -> None:
    """End what is left of a launch, and remove its folder; say what was kept, or would not end.

    Args:
        launch: The launch.
        stop: Tells whether the user is in a hurry.
        logs: The SuperLink's log, or the folder with those of SuperLink and SuperNodes, if it is
            to be kept.
    """
    left = end_processes(launch.id, os.getpid(), hurry=stop.repeated)
    reap_children()
    kept = None if logs is None else keep_logs(launch, logs)
    launch.remove()
    if kept is not None:
        several = "The logs of SuperLink and SuperNodes are in"
        print(several if kept.is_dir() else "The SuperLink's log is", kept, file=sys.stderr)
    if left:
        pids = " ".join(str(process.pid) for process in left)
        print(f"error: these processes would not end: {pids}", file=sys.stderr)


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
