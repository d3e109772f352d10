from pathlib import Path

import pytest

from scripts.deployment.state import locked
from scripts.processes.superlink import LaunchError


def test_a_state_folder_serves_one_federation_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(LaunchError, match="another federation"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
