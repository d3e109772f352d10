import pytest

from fl_app.results.run_directory import RunDirectory


@pytest.fixture
def directory(tmp_path):
    made = RunDirectory(tmp_path / "results" / "run")
    yield made
    made.close()
