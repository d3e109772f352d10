"""Runs with a model that cannot be trained: before round 1, or at the first batch, in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from PIL import Image
from torch import Tensor, nn

from fl_app.callbacks.early_stopping import FailedRoundsError
from fl_app.client_app import app as client_app
from fl_app.core.errors import ConfigError
from fl_app.tasks.registry import MODELS
from scripts.harness.in_process_grid import InProcessGrid
from tests.fl_app.linear_client import initial, participant
from tests.support.linear_model import Linear
from tests.support.local_run import metrics, run_app, run_on


class Logits(Linear):
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(images.flatten(1))
        return logits


class Probabilities(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).exp()


class OnlyInTraining(Linear):
    """Right where the server looks, and something else where it is trained."""

    def forward(self, images: Tensor) -> Any:
        outputs = super().forward(images)
        return (outputs, outputs) if self.training else outputs


class Normalised(Linear):
    image_shape = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(10)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.norm(self.fc(images.flatten(1))), dim=1)


@pytest.mark.parametrize(
    ("kind", "told"), [(Logits, "something like logits"), (Probabilities, "returns probabilities")]
)
@pytest.mark.parametrize("strategy", ["delta-fedavg", "FedAvg"])
def test_the_run_is_refused_before_its_first_round(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: type, told: str, strategy: str
) -> None:
    monkeypatch.setitem(MODELS, "linear", kind)
    with pytest.raises(ConfigError, match=f"the model linear .*{told}.*log_softmax"):
        run_app(config | {"strategy": strategy, "target-loss": 0.1})
    assert not Path(config["output-dir"]).exists()


@pytest.mark.parametrize("kind", [Logits, Probabilities, OnlyInTraining])
def test_a_participant_looks_at_its_first_batch(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    monkeypatch.setitem(MODELS, "linear", kind)
    with pytest.raises(ConfigError, match="log_softmax"):
        participant(config).fit(initial(config), {})


def test_what_is_wrong_with_the_first_batch_reaches_the_server(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "linear", OnlyInTraining)
    with pytest.raises(FailedRoundsError, match="returns a tuple of no tensor"):
        run_app(config | {"max-failed-rounds": 1})


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Nodes with 65, 1 and 6 pictures to train on, and a model with a batch norm."""
    monkeypatch.setitem(MODELS, "linear", Normalised)
    random = np.random.default_rng(0)
    nodes = []
    for name, count in (("large", 65), ("lonely", 1), ("small", 6)):
        for part, number in (("train", count), ("test", 2)):
            for index in range(number):
                folder = tmp_path / f"{name}-{part}" / ("cat", "dog")[index % 2]
                folder.mkdir(parents=True, exist_ok=True)
                array = random.integers(0, 256, (28, 28), np.uint8)
                Image.fromarray(array).save(folder / f"{index}.png")
        train, test = (str(tmp_path / f"{name}-{part}") for part in ("train", "test"))
        nodes.append({"name": name, "data": train, "test-data": test})
    return nodes


def test_a_site_of_65_takes_part_and_one_of_a_single_example_says_why_it_does_not(
    config: dict[str, Any], sites: list[dict[str, Any]]
) -> None:
    own = config | {"dataset": "own", "class-names": "cat,dog", "num-server-rounds": 1}
    directory = run_on(InProcessGrid(client_app, own, 3, node_configs=sites), own)
    rows = {row["participant"]: row for row in metrics(directory, "participant")}
    assert rows["large"]["failure"] is None
    assert rows["large"]["num_examples"] == 65
    assert rows["small"]["failure"] is None
    reason = "a single example to train on, and the model has a batch norm"
    assert reason in rows["lonely"]["failure"]
