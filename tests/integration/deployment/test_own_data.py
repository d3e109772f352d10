"""Participants that bring their own folders of images; the server has no data at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fl_app.callbacks.early_stopping import FailedRoundsError
from fl_app.client_app import app as client_app
from fl_app.core.errors import ConfigError
from fl_app.data.datasets import load_dataset
from scripts.harness.in_process_grid import InProcessGrid
from tests.support.local_run import run_app, run_on, summary_of

pytestmark = pytest.mark.slow

HOSPITALS = ("north", "south", "west")


@pytest.fixture
def config(run_config: dict[str, Any]) -> dict[str, Any]:
    return run_config | {
        "dataset": "own",
        "class-names": "zero,one,two",
        "num-server-rounds": 8,
        "local-epochs": 3,
        "learning-rate": 0.05,
    }


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Real handwriting in class-named folders; west has never seen a two."""
    dataset = load_dataset("digits", tmp_path)
    pixels = (dataset.train.images * dataset.std + dataset.mean).squeeze(1).mul(255).round()
    images, labels = pixels.numpy().astype(np.uint8), dataset.train.labels.numpy()
    folders = {name: tmp_path / name for name in HOSPITALS}
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = HOSPITALS[index % 3]
        if label > 2 or (name == "west" and label == 2):
            continue
        folder = folders[name] / ("zero", "one", "two")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folders


def run(config: dict[str, Any], folders: dict[str, Path], order: int = 0) -> Path:
    nodes = [{"name": name, "data": str(folder)} for name, folder in folders.items()]
    return run_on(InProcessGrid(client_app, config, 3, order, node_configs=nodes), config)


def test_three_hospitals_learn_together_what_the_server_never_sees(
    config: dict[str, Any], folders: dict[str, Path]
) -> None:
    directory = run(config, folders)

    summary = summary_of(directory)
    assert summary["central"] is None
    assert summary["federated"]["accuracy"] > 0.9
    assert summary["failures"] == 0
    assert not (directory / "partition.png").exists()
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert {row["participant"] for row in rows if row["kind"] == "participant"} == set(HOSPITALS)


def test_the_log_names_the_sha256_of_a_partition_only_where_there_is_one(
    config: dict[str, Any], folders: dict[str, Path], flower_log: pytest.LogCaptureFixture
) -> None:
    def digests() -> list[str]:
        lines = [record.getMessage() for record in flower_log.records]
        flower_log.clear()
        return [line.split(":")[0] for line in lines if line.startswith("sha256 of ")]

    short = config | {"num-server-rounds": 1, "local-epochs": 1}
    run(short, folders)
    assert digests() == ["sha256 of config", "sha256 of weights"]
    run_app(short | {"dataset": "digits", "class-names": ""})
    assert digests() == ["sha256 of config", "sha256 of partition", "sha256 of weights"]


@pytest.mark.usefixtures("no_pictures")
def test_the_order_of_arrival_and_of_the_nodes_changes_no_bit(
    config: dict[str, Any], folders: dict[str, Path]
) -> None:
    short = config | {"num-server-rounds": 2}
    turned = dict(reversed(folders.items()))
    first, second = run(short, folders), run(short, turned, order=5)
    assert summary_of(first)["sha256"] == summary_of(second)["sha256"]


@pytest.mark.usefixtures("no_pictures")
def test_a_site_with_a_label_nobody_agreed_on_is_left_out_and_the_rest_goes_on(
    config: dict[str, Any], folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (folders["south"] / "two").rename(folders["south"] / "seven")

    directory = run(config | {"num-server-rounds": 1}, folders)

    assert summary_of(directory)["failures"] == 1
    assert "participant south: " in caplog.text
    assert "seven" in caplog.text  # in the node's own log
    reasons = [record.getMessage() for record in caplog.records if "did not" in record.getMessage()]
    assert reasons
    assert not any("seven" in reason for reason in reasons)  # but not in the server's


@pytest.mark.usefixtures("no_pictures")
def test_where_no_site_can_train_the_run_ends_with_a_sentence(
    config: dict[str, Any], folders: dict[str, Path]
) -> None:
    nowhere = {name: folder / "gone" for name, folder in folders.items()}
    with pytest.raises(FailedRoundsError, match="north, south, west: DataError"):
        run(config, nowhere)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class-names": ""}, "needs class-names"),
        ({"class-names": "a,,b"}, "an empty name"),
        ({"class-names": "a,b,a"}, "one twice"),
        ({"class-names": ",".join("abcdefghijk")}, "11 names, the model simple-cnn tells 10"),
        ({"monitor": "central"}, "needs a test set on the server"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_round(
    config: dict[str, Any], folders: dict[str, Path], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(config | change, folders)
