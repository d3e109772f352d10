"""A participant's own data, and where a node keeps it decoded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.data.local_files import cache, loader
from fl_app.tasks.client_data import local_data


@pytest.fixture
def config(run_config: dict[str, Any]) -> RunConfig:
    return RunConfig.from_run_config(run_config | {"dataset": "own", "class-names": "cat,dog"})


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The config of a node whose pictures are worth keeping decoded."""
    monkeypatch.setattr(loader, "WORTH_KEEPING_SECONDS", 0.0)
    monkeypatch.setattr(cache, "_SETTLED_SECONDS", 0.0)
    shades = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    for index, array in enumerate(shades):
        folder = tmp_path / "north" / ("cat", "dog")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / f"{index}.png")
    state = tmp_path / "state"
    return {"name": "north", "data": str(tmp_path / "north"), "state-dir": str(state)}


def test_decoded_pictures_are_kept_in_the_nodes_state_directory(
    node: dict[str, Any], config: RunConfig, tmp_path: Path
) -> None:
    assert len(local_data(node, config, None).train) == 6
    (kept,) = (tmp_path / "state").rglob("*.npz")
    assert kept.parent == tmp_path / "state" / "data-cache"


def test_a_nodes_operator_can_turn_that_off(
    node: dict[str, Any], config: RunConfig, tmp_path: Path
) -> None:
    assert len(local_data(node | {"data-cache": False}, config, None).train) == 6
    assert not (tmp_path / "state").exists()
    with pytest.raises(ConfigError, match="data-cache = 'no' must be true or false"):
        local_data(node | {"data-cache": "no"}, config, None)
