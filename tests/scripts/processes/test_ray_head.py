import subprocess
import sys

import pytest

from scripts.processes.ray_head import check_ray
from scripts.processes.superlink import LaunchError

pytestmark = pytest.mark.slow


def test_a_ray_that_has_ended_is_told_in_a_sentence():
    check_ray(None)
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], text=True)
    process.wait()
    with pytest.raises(LaunchError, match=r"Ray.* ended early, with status 3"):
        check_ray(process)
