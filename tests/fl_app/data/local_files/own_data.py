"""A participant's own data, written for a test, and what the loader says of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fl_app.core.errors import DataError
from fl_app.data.local_files.loader import OwnDataSpec, load_own_data
from fl_app.data.tensor_dataset import ImageExamples

SIZE = 6
CLASSES = ("cat", "dog", "T-shirt/top")


def make_spec(data: Path, **changes: Any) -> OwnDataSpec:
    spec = OwnDataSpec(
        data=data,
        test_data=None,
        class_names=CLASSES,
        image_shape=(1, SIZE, SIZE),
        mean=0.1307,
        std=0.3081,
        holdout_fraction=0.25,
        seed=42,
        participant="north",
    )
    return replace(spec, **changes)


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, 256, (count, *shape), dtype=np.uint8)


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def save_npz(path: Path, **arrays: Any) -> Path:
    defaults = {"images": pixels(12, SIZE, SIZE), "labels": np.arange(12) % 3}
    np.savez(path / "own.npz", **defaults | arrays)
    return path / "own.npz"


def refusal(spec: OwnDataSpec) -> str:
    with pytest.raises(DataError) as refused:
        load_own_data(spec)
    return str(refused.value)


def everything(spec: OwnDataSpec) -> ImageExamples:
    """All examples in the order of the source."""
    return load_own_data(replace(spec, holdout_fraction=0.0)).train
