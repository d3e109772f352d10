"""What the server knows of the data: a test set and who holds what, or nothing at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl_app.core.paths import resolve_data_dir
from fl_app.core.plugins import OWN_DATA
from fl_app.core.run_config import RunConfig
from fl_app.data.datasets import load_dataset, resolve_dataset
from fl_app.data.partition import label_counts, partition_digest, partition_indices
from fl_app.data.tensor_dataset import Examples
from fl_app.tasks.settings import class_names, partition_spec


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
        test: The server's test set, if it has one.
        partition: Who holds what, if the server decides that.
    """

    name: str
    class_names: Sequence[str]
    mean: float
    std: float
    test: Examples | None = None
    partition: Partition | None = None


def load_server_data(config: RunConfig) -> ServerData:
    """Resolve the data set for everybody, and load what the server needs of it.

    Raises:
        UserError: If the set is missing or damaged, or cannot be partitioned as asked.
    """
    if config.dataset == OWN_DATA:
        return ServerData(OWN_DATA, class_names(config), config.image_mean, config.image_std)
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
        test=dataset.test,
        partition=Partition(counts, partition_digest(parts)),
    )
