"""A real federation for one test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.deployment.cluster import Federation
from tests.support.real_run import running_federation


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """A SuperLink and two nodes."""
    with running_federation(tmp_path / "state") as federation:
        yield federation
