"""What is done in C and in NumPy is tested in both ways."""

from pathlib import Path

import pytest

from strategies.native import sum_kernels
from tests.strategies.own_parts import OWN_PARTS


@pytest.fixture(params=["compiled", "numpy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two ways, for the duration of a test."""
    built = sum_kernels.load() if request.param == "compiled" else None
    if request.param == "compiled" and built is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setattr(sum_kernels, "available", lambda: built)
    return str(request.param)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my_parts.py"
    path.write_text(OWN_PARTS)
    return path
