"""What the server knows of the data: a test set and who holds what, or nothing at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fl_app.core.errors import ConfigError
from fl_app.core.paths import resolve_data_dir
from fl_app.core.plugins import OWN_DATA
from fl_app.core.run_config import RunConfig
from fl_app.data.datasets import Dataset, load_dataset, resolve_dataset
from fl_app.data.partition import label_counts, partition_digest, partition_indices
from fl_app.data.tensor_dataset import Examples
from fl_app.tasks.model_outputs import check_model
from fl_app.tasks.registry import build_model
from fl_app.tasks.settings import own_images, partition_spec

_IMAGES_TO_TRY = 4


@dataclass(frozen=True)
class Partition:
    """Who holds which examples of a set that everybody could load.

    Attributes:
        counts: int64 [participants, classes], examples of each class.
        sha256: Identifies the partition.
    """

    counts: NDArray[np.int64]
    sha256: str


@dataclass(frozen=True)
class ServerData:
    """The server's view of the data.

    Attributes:
        name: The data set in use, as in the run config but not `auto`; `own` where every
            participant brings its own.
        class_names: The names of the classes, by label.
        mean: Subtracted from pixels in [0, 1].
        std: Divided by after that.
        image_shape: (C, H, W) of the images.
        light_on_dark: Whether all pictures are light on a dark background.
        test: The server's test set, if it has one.
        partition: Who holds what, if the server decides that.
    """

    name: str
    class_names: Sequence[str]
    mean: float
    std: float
    image_shape: tuple[int, int, int]
    light_on_dark: bool = False
    test: Examples | None = None
    partition: Partition | None = None


def load_server_data(config: RunConfig) -> ServerData:
    """Resolve the data set for everybody, and load what the server needs of it.

    Raises:
        UserError: If the set is missing or damaged, or cannot be partitioned as asked.
    """
    if config.dataset == OWN_DATA:
        names, shape = own_images(config)
        return ServerData(OWN_DATA, names, config.image_mean, config.image_std, shape)
    data_dir = resolve_data_dir(config.data_dir)
    name = resolve_dataset(config.dataset, data_dir)
    dataset = load_dataset(name, data_dir)
    labels = dataset.train.labels.numpy()
    parts = partition_indices(labels, partition_spec(config))
    counts = label_counts(labels, parts, len(dataset.class_names))
    return ServerData(
        name=name,
        class_names=dataset.class_names,
        mean=dataset.mean,
        std=dataset.std,
        image_shape=_shape_of(dataset),
        light_on_dark=dataset.light_on_dark,
        test=dataset.test,
        partition=Partition(counts, partition_digest(parts)),
    )


def check_model_fits(config: RunConfig, data: ServerData) -> None:
    """Let the model that a run will train classify a few images of the kind that it will see.

    Raises:
        ModelError: If it cannot be trained on them; says what differs and what to change.
    """
    if data.test is not None:
        images = data.test.images[:_IMAGES_TO_TRY]
    else:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn((_IMAGES_TO_TRY, *data.image_shape), generator=generator)
    # A model of its own: whatever a forward pass does to one, the run begins with a fresh one.
    model = build_model(config.model, config.seed)
    check_model(model, config.model, images, len(data.class_names), data.name)


def _shape_of(dataset: Dataset) -> tuple[int, int, int]:
    images = dataset.test.images
    if images.ndim != 4 or not images.is_floating_point():
        raise ConfigError(
            f"run config: the images of dataset = {dataset.name!r} are {images.dtype} of shape "
            f"{list(images.shape)}; they must be float32 [images, channels, height, width]"
        )
    channels, height, width = images.shape[1:]
    return channels, height, width
