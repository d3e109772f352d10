"""Image classification, the default task: images in, log-probabilities of classes out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import ACCURACY
from fl_app.core.plugins import OWN_DATA, told_as_config_error
from fl_app.data.datasets import Dataset, load_dataset
from fl_app.data.local_data import LocalData, OwnSource
from fl_app.data.local_files.cache import PictureCache
from fl_app.data.local_files.loader import OwnDataSpec, load_own_data
from fl_app.data.local_files.schema import same_class
from fl_app.data.tensor_dataset import Batch, ImageExamples
from fl_app.tasks.images.model_outputs import check_model, check_outputs
from fl_app.tasks.tally import Measures
from fl_app.tasks.task import Task, TaskData
from strategies.registry import find_part

Shape = tuple[int, int, int]

_IMAGES_TO_TRY = 4


class ImageClassification(Task):
    """Images [N, C, H, W] in one of several classes.

    A model is an `nn.Module` that returns log-probabilities [N, classes]. Attributes `image_shape`
    (C, H, W) and `num_classes` let data be checked against it.
    """

    metrics = MappingProxyType({"accuracy": ACCURACY})

    def __init__(
        self,
        model: str = "simple-cnn",
        dataset: str = "mnist",
        class_names: str = "",
        image_mean: float = 0.5,
        image_std: float = 0.5,
    ) -> None:
        """Set up; every option has a key of the run config.

        Args:
            model: A name or a path, with options.
            dataset: Likewise, or "own".
            class_names: For own data, the names of the classes, separated by commas.
            image_mean: For own data, subtracted from pixels in [0, 1].
            image_std: For own data, divided by after that.
        """
        self._model = model
        self._dataset = dataset
        self._class_names = class_names
        self._mean, self._std = image_mean, image_std
        self._data_classes: tuple[str, ...] = ()

    def build_model(self) -> nn.Module:
        """See `Task.build_model`."""
        with told_as_config_error():
            with torch.random.fork_rng(devices=[]):  # a user's file may draw numbers on import
                make = find_part("model", self._model)
            model: nn.Module = make()
        return model

    def load_data(self, data_dir: Path) -> TaskData:
        """See `Task.load_data`."""
        dataset = load_dataset(self._dataset, data_dir)
        names = self._data_classes = dataset.class_names
        metadata = _metadata(
            names, dataset.mean, dataset.std, _shape_of(dataset), dataset.light_on_dark
        )
        return TaskData(dataset.train, dataset.test, label_names=names, metadata=metadata)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean negative log-likelihood, in nats."""
        return F.nll_loss(outputs, batch[-1])

    def measure(self, outputs: Tensor, batch: Batch) -> Measures:
        """Count the images that are classified right."""
        labels = batch[-1]
        return {"accuracy": ((outputs.argmax(1) == labels).sum(), len(labels))}

    def check_outputs(self, outputs: object, batch: Batch) -> None:
        """Refuse what is not log-probabilities [N, classes]."""
        labels = batch[-1]
        check_outputs(outputs, len(labels), int(labels.max()) + 1)

    def check_model(self, model: nn.Module, batch: Batch) -> None:
        """See `Task.check_model`."""
        names = self.class_names(model) if self._dataset == OWN_DATA else self._data_classes
        check_model(model, self._model, batch[0], len(names), self._dataset)

    def sample_batch(self) -> Batch:
        """Make images of the kind that participants with their own data have."""
        model = self.build_model()
        generator = torch.Generator().manual_seed(0)
        images = torch.randn((_IMAGES_TO_TRY, *self.image_shape(model)), generator=generator)
        return images, torch.zeros(_IMAGES_TO_TRY, dtype=torch.int64)

    def load_own_data(self, source: OwnSource) -> LocalData[ImageExamples]:
        """Read pictures in class folders, an .npz, or a folder with two IDX files."""
        model = self.build_model()
        spec = OwnDataSpec(
            data=source.data,
            test_data=source.test_data,
            class_names=self.class_names(model),
            image_shape=self.image_shape(model),
            mean=self._mean,
            std=self._std,
            holdout_fraction=source.holdout_fraction,
            seed=source.seed,
            participant=source.participant,
        )
        cache = None if source.cache_folder is None else PictureCache(source.cache_folder)
        return load_own_data(spec, cache)

    def check_own_data(self) -> None:
        """See `Task.check_own_data`."""
        if not self._class_names.strip():
            raise ConfigError(
                "run config: dataset = 'own' needs class-names, for instance \"cat,dog\": the "
                "names that all participants' labels are to have"
            )
        model = self.build_model()
        self.class_names(model)
        self.image_shape(model)

    def metadata(self) -> Mapping[str, str]:
        """Say what participants with their own data agreed on; see `Task.metadata`."""
        if self._dataset != OWN_DATA:
            return {}
        model = self.build_model()
        return _metadata(self.class_names(model), self._mean, self._std, self.image_shape(model))

    def class_names(self, model: nn.Module) -> tuple[str, ...]:
        """Return the classes that participants with their own data agreed on, by label.

        Raises:
            ConfigError: As `read_class_names` does, or if the model has fewer classes.
        """
        names = read_class_names(self._class_names)
        num_classes = getattr(model, "num_classes", None)
        if num_classes is not None and len(names) > num_classes:
            raise ConfigError(
                f"run config: class-names has {len(names)} names, the model {self._model} tells "
                f"{num_classes} classes apart"
            )
        return names

    def image_shape(self, model: nn.Module) -> Shape:
        """Return the shape (C, H, W) of the images that the model takes.

        Raises:
            ConfigError: If it does not say.
        """
        shape = getattr(model, "image_shape", None)
        if shape is None:
            raise ConfigError(
                f"run config: the model {self._model} has no image_shape (C, H, W), which "
                "dataset = 'own' needs to check images against"
            )
        channels, height, width = shape
        return channels, height, width


def read_class_names(text: str) -> tuple[str, ...]:
    """Return the class names of the run config, by label.

    Raises:
        ConfigError: If a name is empty or comes twice, or two stand for one folder.
    """
    names = tuple(name.strip() for name in text.split(","))
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(f"run config: class-names = {text!r} has an empty name, or one twice")
    if twice := same_class(names):
        raise ConfigError(
            f"run config: the class-names {twice[0]!a} and {twice[1]!a} stand for one folder of "
            "pictures; make each unique"
        )
    return names


def _metadata(
    names: Sequence[str], mean: float, std: float, shape: Shape, light_on_dark: bool = False
) -> dict[str, str]:
    return {
        "classes": json.dumps(list(names)),
        "mean": repr(mean),
        "std": repr(std),
        "image-shape": json.dumps(list(shape)),
        "light-on-dark": json.dumps(light_on_dark),
    }


def _shape_of(dataset: Dataset) -> Shape:
    images = dataset.test.images
    if images.ndim != 4 or not images.is_floating_point():
        raise ConfigError(
            f"run config: the images of dataset = {dataset.name!r} are {images.dtype} of shape "
            f"{list(images.shape)}; they must be float32 [images, channels, height, width]"
        )
    channels, height, width = images.shape[1:]
    return channels, height, width
