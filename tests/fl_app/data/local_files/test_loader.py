"""A participant's own data: what is read, what is refused and how, what is held out."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fl_app.data.local_files.loader import load_own_data
from fl_app.data.tensor_dataset import normalise
from tests.fl_app.data.local_files.own_data import SIZE, everything, make_spec, pixels, refusal
from tests.support.idx_files import write_idx_set

# Reading


def test_pixels_are_standardised_exactly_as_the_built_in_sets_are(npz: Path) -> None:
    examples = everything(make_spec(npz))
    assert torch.equal(examples.images, normalise(pixels(12, SIZE, SIZE), 0.1307, 0.3081))
    assert examples.images.dtype == torch.float32
    assert examples.labels.dtype == torch.int64


def write_idx(folder: Path, part: str) -> Path:
    made = write_idx_set(folder / "all")
    own = folder / part
    own.mkdir()
    for path in made.glob(f"{part}*"):
        path.rename(own / path.name)
    return own


def test_idx_files_are_read(tmp_path: Path) -> None:
    own = write_idx(tmp_path, "train")
    (own / "._train-images-idx3-ubyte").write_bytes(b"left behind by macOS")
    names = tuple(map(str, range(10)))
    examples = everything(make_spec(own, class_names=names, image_shape=(1, 28, 28)))
    raw = (own / "train-images-idx3-ubyte").read_bytes()[16:]
    expected = np.frombuffer(raw, np.uint8).reshape(4, 28, 28)
    assert torch.equal(examples.images, normalise(expected, 0.1307, 0.3081))
    assert examples.labels.tolist() == list((own / "train-labels-idx1-ubyte").read_bytes()[8:])


def test_test_data_of_its_own_leaves_all_data_for_training(folder: Path, npz: Path) -> None:
    local = load_own_data(make_spec(folder, test_data=npz))
    assert (len(local.train), len(local.test)) == (16, 12)
    assert "different ones" in refusal(make_spec(npz, test_data=npz))


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.npz")
    assert "neither a folder nor an .npz" in refusal(make_spec(tmp_path / "own.npz"))


# Refusing: every message names the file, what is wrong, and what would be right


def test_idx_files_that_are_no_pair_are_refused(tmp_path: Path) -> None:
    both = write_idx_set(tmp_path / "both")
    spec = make_spec(both, class_names=tuple("0123456789"), image_shape=(1, 28, 28))
    assert "2 IDX files of images and 2 of labels" in refusal(spec)
    for path in both.glob("t10k*"):
        path.unlink()
    labels = both / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:8] + bytes((0, 1, 2, 77)))
    assert "label 77" in refusal(spec)
    labels.write_bytes(b"broken")
    told = refusal(spec)
    assert "cut short" in told
    assert "download" not in told
    labels.rename(both / "train-labels-idx1-ubyte.gz")
    assert "gunzip" in refusal(spec)


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": ()},
        {"class_names": ("a/b", "a_b")},
        {
            "class_names": (
                "cafe\N{COMBINING ACUTE ACCENT}",
                "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
            )
        },
        {"image_shape": (1, 0, 4)},
        {"std": 0.0},
        {"mean": float("nan")},
        {"holdout_fraction": 1.0},
        {"holdout_fraction": -0.1},
    ],
)
def test_a_specification_that_cannot_be_is_refused(npz: Path, changes: dict[str, Any]) -> None:
    assert refusal(make_spec(npz, **changes))
