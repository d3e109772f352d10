"""Arrays of images and labels: how they are read, and which are refused."""

import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fl_app.core.errors import DataError
from fl_app.data.local_files.loader import load_own_data
from fl_app.data.tensor_dataset import normalise
from tests.fl_app.data.local_files.own_data import (
    SIZE,
    everything,
    make_spec,
    pixels,
    refusal,
    save_npz,
)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_mean_the_same_as_bytes(tmp_path: Path, dtype: type) -> None:
    floats: np.ndarray = (pixels(12, SIZE, SIZE) / 255).astype(dtype)
    examples = everything(make_spec(save_npz(tmp_path, images=floats)))
    expected = normalise(pixels(12, SIZE, SIZE), 0.1307, 0.3081)
    assert torch.allclose(examples.images, expected, atol=2e-3 if dtype is np.float16 else 1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_colour_may_come_first_or_last(tmp_path: Path, channels_last: bool) -> None:
    images = pixels(12, 3, SIZE, SIZE)
    stored = images.transpose(0, 2, 3, 1) if channels_last else images
    spec = make_spec(save_npz(tmp_path, images=stored), image_shape=(3, SIZE, SIZE))
    expected = torch.from_numpy(images.astype(np.float32) / 255)
    assert torch.allclose(everything(replace(spec, mean=0, std=1)).images, expected, atol=1e-7)


@pytest.mark.parametrize("names", [["cat", "T-shirt/top"], [b"cat", b"T-shirt/top"]])
def test_labels_may_be_names(tmp_path: Path, names: list[str] | list[bytes]) -> None:
    path = save_npz(tmp_path, labels=np.array(names * 6))
    assert everything(make_spec(path)).labels.tolist() == [0, 2] * 6


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, "<U3", "S3"])
def test_numbers_are_the_names_of_classes_that_are_all_numbers(
    tmp_path: Path, dtype: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_npz(tmp_path, labels=np.array([1, 2] * 6).astype(dtype))
    spec = make_spec(path, class_names=("1", "2", "3"))
    with caplog.at_level(logging.INFO, "flwr"):
        assert everything(spec).labels.tolist() == [0, 1] * 6
    numbers = np.dtype(dtype).kind in "iu"
    assert ("each label is read as the name of its class" in caplog.text) == numbers


@pytest.mark.parametrize(
    ("names", "label", "position"),
    [
        (("0", "1", "2"), 2, 2),
        (("cat", "dog"), 1, 1),
        (("10", "5", "-1"), 5, 1),
        (("10", "5", "-1"), -1, 2),
        (("1.0", "02"), 2, 1),
        (("cat", "1"), 1, 1),
    ],
)
def test_a_label_that_is_a_number(
    tmp_path: Path, names: tuple[str, ...], label: int, position: int
) -> None:
    path = save_npz(tmp_path, labels=np.full(12, label))
    assert set(everything(make_spec(path, class_names=names)).labels.tolist()) == {position}


def test_names_that_differ_by_a_blank_are_one_class_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = make_spec(save_npz(tmp_path, labels=np.array(["cat", "cat "] * 6)))
    with caplog.at_level(logging.INFO, "flwr"):
        assert everything(spec).labels.tolist() == [0] * 12
    assert "the labels 'cat' and 'cat ' are both read as the class 'cat'" in caplog.text


# Refusing: every message names the file, what is wrong, and what would be right


@pytest.mark.parametrize("labels", [np.array(["cat", "cow"] * 6), np.arange(12), -np.arange(12)])
def test_unknown_label_is_named_with_the_agreed_classes(tmp_path: Path, labels: Any) -> None:
    told = refusal(make_spec(save_npz(tmp_path, labels=labels)))
    assert "own.npz" in told
    assert any(wrong in told for wrong in ("'cow'", "label 3", "label -1"))
    assert "cat, dog, T-shirt/top" in told


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"images": pixels(12, SIZE, 7)}, f"(12, {SIZE}, 7)"),
        ({"images": pixels(12, 3, SIZE, SIZE)}, "1 channel"),
        ({"images": pixels(11, SIZE, SIZE)}, "11 images but 12 labels"),
        ({"images": pixels(0, SIZE, SIZE), "labels": np.arange(0)}, "holds no images"),
        ({"images": pixels(12, SIZE, SIZE).astype(np.int32)}, "int32"),
        ({"images": np.full((12, SIZE, SIZE), 2.5)}, "from 2.5 to 2.5"),
        ({"images": np.full((12, SIZE, SIZE), -0.1)}, "between 0 (black) and 1 (white)"),
        ({"images": np.full((12, SIZE, SIZE), np.nan)}, "image 0"),
        ({"images": np.full((12, SIZE, SIZE), np.inf)}, "not a finite number"),
        ({"labels": np.arange(12) % 3 / 1.0}, "float64"),
        ({"labels": np.array(["cat"] * 12, object)}, "object"),
        ({"labels": np.eye(12, dtype=np.int64)}, "one label per image"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], told: str
) -> None:
    message = refusal(make_spec(save_npz(tmp_path, **arrays)))
    assert told in message
    assert "own.npz" in message


def test_one_bad_pixel_among_good_ones_is_found(tmp_path: Path) -> None:
    images = pixels(12, SIZE, SIZE) / 255
    images[7, 2, 3] = np.nan
    assert "image 7 has a pixel" in refusal(make_spec(save_npz(tmp_path, images=images)))


def test_other_npz_files_are_refused(tmp_path: Path, npz: Path) -> None:
    np.savez(tmp_path / "other.npz", x_train=np.zeros(3))
    assert "x_train" in refusal(make_spec(tmp_path / "other.npz"))
    npz.write_bytes(npz.read_bytes()[:-400])
    assert "not an intact .npz" in refusal(make_spec(npz))
    assert "does not exist" in refusal(make_spec(tmp_path / "none"))
    (tmp_path / "data.csv").write_text("1,2")
    assert "neither a folder nor an .npz" in refusal(make_spec(tmp_path / "data.csv"))


def test_an_array_too_large_for_the_machine_is_not_unpacked(
    npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_app.data.local_files.schema.physical_memory", lambda: 2**10)
    monkeypatch.setattr(np, "load", lambda *_args, **_options: pytest.fail("unpacked"))
    assert "holds 12 images, which take" in refusal(make_spec(npz))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("1", "2", "3"), "the label 0 is not an agreed class; as all class names are numbers"),
        (("1", "2", "other"), "may mean a name or a place in the list"),
        (("1", "01", "0"), "may mean a name or a place in the list"),
    ],
)
def test_a_number_that_could_mean_two_classes_is_refused(
    tmp_path: Path, names: tuple[str, ...], told: str
) -> None:
    path = save_npz(tmp_path, labels=np.arange(12) % 3)
    assert told in refusal(make_spec(path, class_names=names))


def test_compressed_bytes_that_are_spoiled_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    images = pixels(4, SIZE, SIZE)
    np.savez_compressed(path, images=images, labels=np.zeros(4, np.int64))
    whole = path.read_bytes()
    for at in range(30, 400):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with contextlib.suppress(DataError):  # and nothing else
            load_own_data(make_spec(path))
