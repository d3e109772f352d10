"""What is told of a run config before anything is started for it."""

from pathlib import Path
from typing import Any

import pytest

from fl_app.core.errors import ConfigError, ResumeError
from fl_app.core.run_config import RunConfig
from fl_app.experiment.preflight import check_before_start


def check(run_config: dict[str, Any], **settings: Any) -> None:
    check_before_start(RunConfig.from_run_config(run_config | settings))


def test_results_go_into_a_folder_that_is_there_or_can_be_made(run_config, tmp_path):
    check(run_config, **{"output-dir": str(tmp_path)})
    check(run_config, **{"output-dir": str(tmp_path / "not" / "yet")})

    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("below", ["", "results"])
def test_a_file_is_no_folder_for_results(run_config, tmp_path, below):
    file = tmp_path / "notes.txt"
    file.touch()

    with pytest.raises(ConfigError, match=r"output-dir = .* cannot be made, .*notes.txt is a file"):
        check(run_config, **{"output-dir": str(file / below)})


def test_a_folder_that_cannot_be_written_to_is_no_place_for_results(
    run_config, tmp_path, monkeypatch
):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)

    with pytest.raises(ConfigError, match="cannot be written to"):
        check(run_config, **{"output-dir": str(tmp_path / "results")})


def test_a_run_without_a_checkpoint_cannot_be_resumed(run_config, tmp_path):
    with pytest.raises(ResumeError, match=r"checkpoint.safetensors is not there"):
        check(run_config, resume=str(tmp_path))


def test_folders_of_other_machines_are_not_looked_at(run_config, tmp_path):
    settings = run_config | {"output-dir": "/dev/null/results", "resume": str(tmp_path)}

    check_before_start(RunConfig.from_run_config(settings), import_own=False)
