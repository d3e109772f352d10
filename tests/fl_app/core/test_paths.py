import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.paths import (
    new_run_directory,
    resolve_data_dir,
    resolve_output_dir,
    resolve_resume,
)


@pytest.mark.parametrize(
    ("resolve", "variable", "default"),
    [
        (resolve_data_dir, "DELTA_FEDAVG_DATA_DIR", "/home/someone/.cache/delta-fedavg/data"),
        (resolve_output_dir, "DELTA_FEDAVG_OUTPUT_DIR", "/home/someone/delta-fedavg-results"),
    ],
)
def test_a_folder_is_the_configured_the_environments_or_the_default(
    monkeypatch, tmp_path, resolve, variable, default
):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv(variable, str(tmp_path))
    assert str(resolve("/elsewhere")) == "/elsewhere"
    assert str(resolve("~/data")) == "/home/someone/data"
    assert resolve("") == tmp_path
    monkeypatch.delenv(variable)
    assert str(resolve("")) == default


def test_relative_paths_are_refused_by_key(monkeypatch):
    with pytest.raises(ConfigError, match="data-dir = 'data/x' must be an absolute path"):
        resolve_data_dir("data/x")
    with pytest.raises(ConfigError, match="output-dir = 'out'"):
        resolve_output_dir("out")
    with pytest.raises(ConfigError, match="resume = 'run'"):
        resolve_resume("run")
    monkeypatch.setenv("DELTA_FEDAVG_DATA_DIR", "data")
    with pytest.raises(ConfigError, match="DELTA_FEDAVG_DATA_DIR = 'data'"):
        resolve_data_dir("")


def test_no_resume_is_none():
    assert resolve_resume("") is None


def test_two_runs_of_the_same_second_get_two_directories(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20260101-120000")
    first = new_run_directory(str(tmp_path), "digits")
    first.mkdir()
    second = new_run_directory(str(tmp_path), "digits")
    assert first.name == "20260101-120000-digits"
    assert second != first
    assert second.parent == first.parent


def test_the_directory_of_a_set_of_ones_own_has_the_name_of_its_function(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20260101-120000")
    for dataset in ("/home/me/data.py:cats(path='/a:b/(c)')", "my_package.data:cats"):
        directory = new_run_directory(str(tmp_path), dataset)
        assert directory == tmp_path / "20260101-120000-cats"
