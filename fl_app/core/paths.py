"""Where a run reads and writes.

Flower starts an app from a working directory of its own, so a relative path would not mean
what the user thinks: all paths are absolute.
"""

import os
import time
from pathlib import Path

from fl_app.core.errors import ConfigError

DATA_DIR_VARIABLE = "DELTA_FEDAVG_DATA_DIR"
OUTPUT_DIR_VARIABLE = "DELTA_FEDAVG_OUTPUT_DIR"


def resolve_data_dir(configured: str) -> Path:
    """Turn the run config's data-dir into an absolute path.

    Args:
        configured: An absolute path, with `~` allowed, or "" for the environment's
            DELTA_FEDAVG_DATA_DIR, or else a folder in the user's cache.

    Raises:
        ConfigError: If the path is relative.
    """
    return _resolve("data-dir", configured, DATA_DIR_VARIABLE, "~/.cache/delta-fedavg/data")


def resolve_output_dir(configured: str) -> Path:
    """Turn the run config's output-dir into an absolute path.

    Args:
        configured: An absolute path, with `~` allowed, or "" for the environment's
            DELTA_FEDAVG_OUTPUT_DIR, or else a folder in the user's home.

    Raises:
        ConfigError: If the path is relative.
    """
    return _resolve("output-dir", configured, OUTPUT_DIR_VARIABLE, "~/delta-fedavg-results")


def new_run_directory(output_dir: str, dataset: str) -> Path:
    """Name a directory, not yet made, for a run that starts now.

    Args:
        output_dir: The run config's output-dir.
        dataset: The data set in use. One of the user's own is named by a path; of that, the
            name of its function is taken.

    Raises:
        ConfigError: If `output_dir` is relative.
    """
    root = resolve_output_dir(output_dir)
    label = dataset.partition("(")[0].rpartition(":")[2].strip()
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{label}"
    taken = {path.name for path in root.glob(f"{stem}*")} if root.is_dir() else set()
    if stem not in taken:
        return root / stem
    return root / f"{stem}-{time.time_ns() % 10**9:09d}"


def resolve_state_dir(configured: str) -> Path:
    """Turn a node config's state-dir into an absolute path.

    Args:
        configured: An absolute path, with `~` allowed, or "" for a folder in the user's home.

    Raises:
        ConfigError: If the path is relative.
    """
    default = os.environ.get("XDG_STATE_HOME", "").strip() or "~/.local/state"
    path = configured.strip() or f"{default}/delta-fedavg"
    return absolute_path("node config: state-dir", path)


def resolve_resume(configured: str) -> Path | None:
    """Turn the run config's resume into an absolute path; "" is no resume.

    Raises:
        ConfigError: If the path is relative.
    """
    return absolute_path("resume", configured) if configured.strip() else None


def _resolve(key: str, configured: str, variable: str, default: str) -> Path:
    if configured.strip():
        return absolute_path(key, configured)
    return absolute_path(variable, os.environ.get(variable, "").strip() or default)


def _meant(value: str) -> str:
    try:
        return f"; did you mean {str(Path.cwd() / value)!r}?"
    except OSError:  # the working directory was deleted
        return ""


def absolute_path(key: str, value: str) -> Path:
    """Expand `~` in a path.

    Args:
        key: Where the path was configured, for the message.
        value: The path.

    Raises:
        ConfigError: If it is relative.
    """
    expanded = Path(os.path.expanduser(value.strip()))  # noqa: PTH111 - never raises
    if not expanded.is_absolute():
        raise ConfigError(
            f"{key} = {value!r} must be an absolute path, or start with ~/, because Flower runs "
            f"the app from another working directory{_meant(value)}"
        )
    return expanded
