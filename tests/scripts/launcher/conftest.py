from pathlib import Path

import pytest

from tests.scripts.launcher.toy_app import APP_CONFIG


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(APP_CONFIG, encoding="utf-8")
    return folder
