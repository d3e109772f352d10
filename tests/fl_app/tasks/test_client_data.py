"""A participant's own data, and where a node keeps it decoded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.data.local_files import cache, loader
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.client_data import local_data
from fl_app.tasks.server_data import load_server_data
from tests.support.idx_files import write_idx_set


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


@pytest.mark.parametrize("partitioner", ["contiguous", "dirichlet"])
def test_a_set_that_is_normalised_when_it_is_divided_is_common_data(
    run_config: dict[str, Any], tmp_path: Path, partitioner: str
) -> None:
    """As MNIST is, whose files need not be here for this."""
    write_idx_set(tmp_path / "FashionMNIST" / "raw")
    changes = {"dataset": "fashion-mnist", "data-dir": str(tmp_path), "num-participants": 2}
    config = RunConfig.from_run_config(run_config | changes | {"partitioner": partitioner})

    server = load_server_data(config)
    parts = [local_data({"partition-id": i, "num-partitions": 2}, config, None) for i in (0, 1)]

    assert server.partition is not None
    assert [len(part.train) for part in parts] == server.partition.counts.sum(axis=1).tolist()
    assert all(isinstance(part.train, ImageExamples) for part in parts)
