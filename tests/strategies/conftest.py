"""What is done in C and in NumPy is tested in both ways."""

import pytest

from strategies.native import sum_kernels


@pytest.fixture(params=["compiled", "numpy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two ways, for the duration of a test."""
    built = sum_kernels.load() if request.param == "compiled" else None
    if request.param == "compiled" and built is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setattr(sum_kernels, "available", lambda: built)
    return str(request.param)
