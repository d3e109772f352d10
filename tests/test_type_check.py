import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.repository import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("code", "status", "found"),
    [("x: int = 1", 0, "Success: no issues found"), ("x: int = 'a'", 1, "Incompatible types")],
)
def test_what_mypy_finds_fails_the_run_and_comes_before_the_closing_line(
    tmp_path: Path, code: str, status: int, found: str
) -> None:
    (tmp_path / "typed.py").write_text(code)
    (tmp_path / "test_passes.py").write_text("def test_passes():\n    pass\n")
    (tmp_path / "pyproject.toml").write_text('[tool.mypy]\nfiles = ["typed.py"]\n')

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.type_check", "-n", "2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == status, done.stdout + done.stderr
    *before, last = done.stdout.splitlines()
    assert any(found in line for line in before)
    assert "1 passed" in last
