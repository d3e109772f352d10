"""All that can be known of a run config before anything is started for it."""

import os
from collections.abc import Mapping
from typing import Any

from fl_app.core.errors import ConfigError
from fl_app.core.paths import resolve_output_dir, resolve_resume
from fl_app.core.plugins import OWN_DATA, told_as_config_error
from fl_app.core.run_config import DEFAULTS, RunConfig
from fl_app.experiment.compatibility import check_compatibility
from strategies.part_kinds import KINDS
from strategies.registry import find_part, is_path, keys_of_options


def check_before_start(config: RunConfig, import_own: bool = True) -> None:
    """Refuse what a run would refuse at its start: parts, their options, their combinations.

    What is as it is by default is known to work, and not built: PyTorch takes seconds to import.

    Args:
        config: The run config.
        import_own: Whether the user's own parts are imported, and so run, and folders are looked
            at; where they lie on another machine they cannot be.

    Raises:
        ConfigError: If a part does not exist, does not take its options, or cannot be combined, or
            there is no checkpoint to resume, or no folder can be made for the results.
    """
    settings = config.as_run_config()
    own = {key: DEFAULTS[key] for key in KINDS if is_path(key, settings[key])}
    if not import_own:
        own["pretrained-weights"] = ""
        settings |= own
        config = RunConfig.from_run_config(settings)
    check_compatibility(config)
    with told_as_config_error():
        for key in ("dataset", "partitioner", "augmentation"):  # to call them takes data
            if settings[key] not in (DEFAULTS[key], *KINDS[key].words):
                find_part(key, settings[key], settings)
        # An option that has a key is held to the range of the key.
        RunConfig.from_run_config(
            settings | keys_of_options("partitioner", settings["partitioner"])
        )
    if import_own:
        _check_folders(config)
    if any(value != DEFAULTS[key] for key, value in _of_model(settings)):
        _check_model(config)


def _check_folders(config: RunConfig) -> None:
    run = resolve_resume(config.resume)
    if run is not None:
        from fl_app.callbacks.checkpoint import checkpoint_file

        checkpoint_file(run)
        return
    folder = resolve_output_dir(config.output_dir)
    try:
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        fits = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError as error:
        raise ConfigError(f"run config: output-dir = {str(folder)!r}: {error.strerror}") from error
    if not fits:
        why = "cannot be written to" if there.is_dir() else "is a file"
        raise ConfigError(
            f"run config: output-dir = {str(folder)!r} cannot be made, {there} {why}; set it to a "
            "folder that can be written"
        )


def _check_model(config: RunConfig) -> None:
    from fl_app.experiment.settings import stop_settings
    from fl_app.rounds.agreement import check_agreement
    from fl_app.tasks.registry import initial_model, task_of
    from fl_app.tasks.task import all_metrics

    task = task_of(config)
    if config.dataset == OWN_DATA:
        task.check_own_data()
    check_agreement(config, task)
    if task.to_agree() is None:  # else there is no model before the participants are asked
        initial_model(task, config.seed, config.local_parameters)
    stop_settings(config, all_metrics(task))


def _of_model(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the settings that decide the model and what is measured of it."""
    keys = (
        *("task", "model", "image-size", "image-channels", "pretrained-weights"),
        *("local-parameters", "best-metric", "target", "target-accuracy"),
    )
    own = [("dataset", settings["dataset"])] if settings["dataset"] == OWN_DATA else []
    return [(key, settings[key]) for key in keys] + own
