"""What to train: from options, presets and `--run-config` to one checked run config."""

import argparse
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.launcher.toml_text import TomlError, pair_fault, read_file
from scripts.processes.flower_cli import PAIR, default_config, parse_run_config
from scripts.repository import REPOSITORY

PRESETS = (
    *("quick", "reference", "shakespeare"),
    *("heart-disease", "breast-cancer", "credit", "course-ratings"),
)
_PATH_KEYS = ("data-dir", "output-dir")

Value = bool | int | float | str


class UsageError(Exception):
    """The user asked for something that cannot be; the message says what."""


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to train, wherever it runs."""
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="quick", help="how much to train (default: quick)")
    add(
        "--reference",
        dest="preset",
        action="store_const",
        const="reference",
        help="short for --preset reference: the reference experiment in full",
    )
    add("--resume", metavar="RUN", help="continue a run, by its directory, with its own settings")
    add("--participants", type=positive, metavar="N", help="number of participants")
    add("--data-dir", metavar="DIR", help="where the dataset lies")
    add("--output-dir", metavar="DIR", help="where results go (default: results, in the project)")
    add(
        "-c",
        "--run-config",
        action="append",
        default=[],
        metavar="CONFIG",
        help="override any key of the run config: 'key=value key=\"text\"' or a TOML file; "
        "repeatable, the last one wins",
    )
    add("--app", default=str(REPOSITORY), help=argparse.SUPPRESS)


def working_directory() -> Path:
    """Return the folder in which the user stands.

    Raises:
        UsageError: If it was deleted.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(
            "the folder that you are in does not exist any more; go to another one first: cd ~"
        ) from error


def settle_run_config(
    options: argparse.Namespace,
    cwd: Path,
    imposed: Mapping[str, Value] | None = None,
    elsewhere: bool = False,
) -> tuple[Path, dict[str, Value], dict[str, Value]]:
    """Work out and check the run config that the options of `add_run_options` ask for.

    Args:
        options: The parsed options.
        cwd: Folder against which relative paths are resolved.
        imposed: What other options decide; a key that says otherwise is refused.
        elsewhere: Whether it is for other machines, on which the user's own parts lie.

    Returns:
        Folder of the app; the keys that differ from its defaults, paths absolute; all keys.

    Raises:
        UsageError: If the configuration is not valid.
    """
    app = (cwd / Path(options.app).expanduser()).resolve()
    defaults = _defaults(app)
    overrides: dict[str, Value] = {}
    if options.resume is None:
        overrides |= _read_overrides(str(_preset_file(options.preset)), cwd)
    else:
        overrides |= _settings_of((cwd / Path(options.resume).expanduser()).resolve())
    for text in options.run_config:
        overrides |= _read_overrides(text, cwd)
    overrides |= _named_options(options)
    overrides |= _not_contradicted(imposed or {}, overrides)
    overrides.setdefault("output-dir", str(REPOSITORY / "results"))
    _check_keys(overrides, defaults)
    overrides |= _absolute_paths(overrides, cwd)
    fused = defaults | overrides
    if app == REPOSITORY:
        _check_values(fused, elsewhere)
    return app, overrides, fused


def as_toml(values: Mapping[str, Value]) -> str:
    """Write flat values as TOML, safe for any text (JSON strings are TOML strings)."""
    lines = []
    for key, value in values.items():
        text = repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
        lines.append(f"{json.dumps(key)} = {text}".replace("\x7f", "\\u007f"))
    return "\n".join(lines) + "\n"


def positive(text: str) -> int:
    """Read a whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {value}")
    return value


def _preset_file(name: str) -> Path:
    return REPOSITORY / "scripts" / "presets" / f"{name}.toml"


def _defaults(app: Path) -> dict[str, Any]:
    try:
        return default_config(app)
    except (OSError, ValueError) as error:
        raise UsageError(f"{app} holds no Flower app: {error}") from error


def _read_overrides(text: str, cwd: Path) -> dict[str, Value]:
    """Read one `--run-config`: a TOML file, or key=value pairs."""
    if text.endswith(".toml"):
        return _read_file(cwd / Path(text).expanduser())
    if leftover := PAIR.sub("", text).strip():
        # Flower would ignore what is not a pair, silently.
        raise UsageError(f"--run-config: {leftover!r} is not of the form key=value")
    keys = [pair[0].partition("=")[0] for pair in PAIR.finditer(text)]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UsageError(f"--run-config: {text!r} sets {twice} twice; keep one of them")
    for pair in PAIR.finditer(text):
        if fault := pair_fault(pair[0]):
            raise UsageError(f"--run-config: cannot read {fault}")
    try:
        return parse_run_config(text)
    except Exception as error:  # Flower raises its command line's own exceptions here
        raise UsageError(f"--run-config: cannot read {text!r}: {error}") from error


def _read_file(path: Path) -> dict[str, Value]:
    try:
        values: dict[str, Value] = read_file(path)
    except OSError as error:
        raise UsageError(f"--run-config: cannot read {path}: {error.strerror}") from error
    except TomlError as error:
        raise UsageError(f"--run-config: cannot read {path}: {error}") from error
    return values


def _settings_of(run_directory: Path) -> dict[str, Value]:
    """Return the run config that a run was made with, and that it is to be continued."""
    path = run_directory / "config.json"
    try:
        settings: dict[str, Value] = json.loads(path.read_text(encoding="utf-8"))["run-config"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(
            f"--resume: {run_directory} is not the directory of a run: {error}"
        ) from error
    return settings | {"resume": str(run_directory)}


def _named_options(options: argparse.Namespace) -> dict[str, Value]:
    named = {
        "num-participants": options.participants,
        "data-dir": options.data_dir,
        "output-dir": options.output_dir,
    }
    return {key: value for key, value in named.items() if value is not None}


def _not_contradicted(
    imposed: Mapping[str, Value], overrides: Mapping[str, Value]
) -> Mapping[str, Value]:
    for key, value in imposed.items():
        if overrides.get(key, value) != value:
            raise UsageError(
                f"{key} = {overrides[key]!r} in the run config, but with these options it is "
                f"{value!r}; leave it out"
            )
    return imposed


def _check_keys(overrides: Mapping[str, Value], defaults: Mapping[str, Value]) -> None:
    for key in overrides:
        if key not in defaults:
            near = difflib.get_close_matches(key, defaults, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(defaults)}"
            raise UsageError(f"the run config has no key {key!r}; {hint}")


def _absolute_paths(overrides: Mapping[str, Value], cwd: Path) -> dict[str, Value]:
    """Anchor paths where the user stands: the app runs in other processes, elsewhere."""
    return {
        key: str((cwd / Path(str(overrides[key])).expanduser()).resolve())
        for key in _PATH_KEYS
        if overrides.get(key)
    }


def _check_values(settings: Mapping[str, Value], elsewhere: bool) -> None:
    from fl_app.core.errors import ConfigError, ResumeError
    from fl_app.core.run_config import RunConfig

    try:
        config = RunConfig.from_run_config(settings)
        from fl_app.experiment.preflight import check_before_start  # imports Flower

        check_before_start(config, import_own=not elsewhere)
    except (ConfigError, ResumeError) as error:
        raise UsageError(str(error)) from error
