from pathlib import Path

import numpy as np
import pytest

from tests.fl_app.data.local_files.own_data import CLASSES, SIZE, pixels, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures of cats, eight of dogs, no shirts."""
    for index, array in enumerate(pixels(16, SIZE, SIZE)):
        save(tmp_path / "site" / CLASSES[index % 2] / f"{index:02}.png", array)
    return tmp_path / "site"


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez(tmp_path / "site.npz", images=pixels(12, SIZE, SIZE), labels=np.arange(12) % 3)
    return tmp_path / "site.npz"
