"""Image classification, the default task: images in, log-probabilities of classes out."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.errors import ConfigError, UserError
from fl_app.core.metrics import ACCURACY
from fl_app.core.plugins import NO_AUGMENTATION, OWN_DATA, told_as_config_error
from fl_app.data.datasets import Dataset, form_of, load_dataset
from fl_app.data.local_data import LocalData, OwnSource
from fl_app.data.local_files.cache import PictureCache
from fl_app.data.local_files.conversion import ConvertedExamples, Shape
from fl_app.data.local_files.loader import OwnDataSpec, load_own_data
from fl_app.data.tensor_dataset import Batch, ImageExamples
from fl_app.tasks.images.augmentation import augmented
from fl_app.tasks.images.model_outputs import check_model, check_outputs
from fl_app.tasks.images.own_images import agreed_class_names, agreed_shape
from fl_app.tasks.images.pictures.prediction import classify
from fl_app.tasks.images.pictures.preprocessing import (
    Preprocessing,
    preprocessing_metadata,
    preprocessing_of,
)
from fl_app.tasks.images.pretrained import load_pretrained
from fl_app.tasks.tally import Measures
from fl_app.tasks.task import Task, TaskData
from strategies.registry import find_part, open_options

_IMAGES_TO_TRY = 4


class ImageClassification(Task):
    """Images [N, C, H, W] in one of several classes.

    A model is an `nn.Module` that returns log-probabilities [N, classes]. Attributes `image_shape`
    (C, H, W) and `num_classes` let data be checked against it. What makes it is given the options
    `num_classes`, `image_channels` and `image_size` where it has them.
    """

    metrics = MappingProxyType({"accuracy": ACCURACY})

    def __init__(
        self,
        model: str = "simple-cnn",
        dataset: str = "mnist",
        class_names: str = "",
        image_mean: float = 0.5,
        image_std: float = 0.5,
        image_size: int = 0,
        image_channels: int = 0,
        augmentation: str = NO_AUGMENTATION,
        pretrained_weights: str = "",
    ) -> None:
        """Set up; every option has a key of the run config.

        Args:
            model: A name or a path, with options.
            dataset: Likewise, or "own".
            class_names: For own data, the names of the classes, separated by commas.
            image_mean: For own data, subtracted from pixels in [0, 1].
            image_std: For own data, divided by after that.
            image_size: Height and width to which images are resized and cropped; 0 is the model's.
            image_channels: 1 or 3, to which images are converted; 0 is the model's.
            augmentation: A name or a path of what happens to training images by chance.
            pretrained_weights: Path of weights that the model begins with, if any.

        Raises:
            ValueError: If there are no images of so many channels.
        """
        if image_channels not in (0, 1, 3):
            raise ValueError(f"image_channels = {image_channels} must be 1 (grey), 3 (colour) or 0")
        self._model = model
        self._dataset = dataset
        self._class_names = class_names
        self._mean, self._std = image_mean, image_std
        self._size, self._channels = image_size, image_channels
        self._augmentation = augmentation
        self._pretrained = pretrained_weights
        self._saved: Mapping[str, str] | None = None
        # What a model is told depends on the options alone: participants build it too.
        self._for_model = self._known_of_data()
        self.num_classes = self._for_model["num_classes"] or None

    def build_model(self) -> nn.Module:
        """See `Task.build_model`."""
        with told_as_config_error():
            with torch.random.fork_rng(devices=[]):  # a user's file may draw numbers on import
                taken = open_options("model", self._model)
                given = {k: known for k, known in self._for_model.items() if k in taken and known}
                make = find_part("model", self._model, None, **given)
            model: nn.Module = make()
        if self._pretrained:
            load_pretrained(model, self._pretrained)
        return model

    def _known_of_data(self) -> dict[str, int]:
        """Return what a model may want to know, by the name of its option; 0 is unknown."""
        classes, (channels, height, _) = form_of(self._dataset) or (0, (0, 0, 0))
        if self._dataset == OWN_DATA and self._class_names.strip():
            classes = len(self._class_names.split(","))
        return {
            "num_classes": classes,
            "image_channels": self._channels or channels,
            "image_size": self._size or height,
        }

    def load_data(self, data_dir: Path) -> TaskData:
        """See `Task.load_data`."""
        dataset = load_dataset(self._dataset, data_dir)
        names, found = dataset.class_names, _shape_of(dataset)
        self.num_classes = len(names)
        shape = self._channels or found[0], self._size or found[1], self._size or found[2]
        kind = Preprocessing(
            dataset.mean, dataset.std, names, shape, dataset.light_on_dark, self._converts
        )
        metadata = preprocessing_metadata(kind)
        if shape == found:
            return TaskData(dataset.train, dataset.test, label_names=names, metadata=metadata)
        train, test = (ConvertedExamples(d, shape) for d in (dataset.train, dataset.test))
        return TaskData(train, test, label_names=names, metadata=metadata)

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
        check_outputs(outputs, len(labels), self.num_classes or int(labels.max()) + 1)

    def training_batches(
        self, batches: Iterator[Batch], generator: torch.Generator
    ) -> Iterator[Batch]:
        """Augment the images where that is asked for; see `Task.training_batches`."""
        if self._augmentation == NO_AUGMENTATION:
            return batches
        return augmented(self._augmentation, batches, generator)

    def check_model(self, model: nn.Module, batch: Batch) -> None:
        """See `Task.check_model`."""
        classes = self.num_classes or int(batch[-1].max()) + 1
        check_model(model, self._model, batch[0], classes, self._dataset)
        for _ in self.training_batches(iter([batch]), torch.Generator().manual_seed(0)):
            pass

    def sample_batch(self) -> Batch:
        """Make images of the kind that participants with their own data have."""
        model = self.build_model()
        generator = torch.Generator().manual_seed(0)
        images = torch.randn((_IMAGES_TO_TRY, *self._shape(model)), generator=generator)
        return images, torch.zeros(_IMAGES_TO_TRY, dtype=torch.int64)

    def load_own_data(self, source: OwnSource) -> LocalData[ImageExamples]:
        """Read pictures in class folders, an .npz, or a folder with two IDX files."""
        names, shape = self._agreed
        spec = OwnDataSpec(
            data=source.data,
            test_data=source.test_data,
            class_names=names,
            image_shape=shape,
            mean=self._mean,
            std=self._std,
            holdout_fraction=source.holdout_fraction,
            seed=source.seed,
            participant=source.participant,
            convert=self._converts,
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
        _ = self._agreed

    def metadata(self) -> Mapping[str, str]:
        """Say what participants with their own data agreed on; see `Task.metadata`."""
        if self._dataset != OWN_DATA:
            return {}
        names, shape = self._agreed
        kind = Preprocessing(self._mean, self._std, names, shape, False, self._converts)
        return preprocessing_metadata(kind)

    def restore(self, metadata: Mapping[str, str]) -> None:
        """See `Task.restore`; the weights are those of the file."""
        self._saved = metadata
        self._pretrained = ""
        if "task-settings" not in metadata:  # of a release whose models were told nothing
            self._for_model = {}

    def predict(self, model: nn.Module, source: str) -> Iterator[str]:
        """Classify the picture at a path, of any size, grey or colour; see `Task.predict`."""
        if self._saved is None:
            raise UserError("the model says nothing of its images; take one that a run has saved")
        kind = preprocessing_of("the model's file", self._saved, model)
        yield classify(Path(source).expanduser().absolute(), model, kind)

    @cached_property
    def _agreed(self) -> tuple[tuple[str, ...], Shape]:
        """What participants with their own data agreed on: class names and the images' shape.

        A model is built to be asked, once.
        """
        model = self.build_model()
        return agreed_class_names(self._class_names, model, self._model), self._shape(model)

    def _shape(self, model: nn.Module) -> Shape:
        return agreed_shape(model, self._model, self._size, self._channels)

    @property
    def _converts(self) -> bool:
        return bool(self._size or self._channels)


def _shape_of(dataset: Dataset) -> Shape:
    images = dataset.test.images
    if images.ndim != 4 or not images.is_floating_point():
        raise ConfigError(
            f"run config: the images of dataset = {dataset.name!r} are {images.dtype} of shape "
            f"{list(images.shape)}; they must be float32 [images, channels, height, width]"
        )
    channels, height, width = images.shape[1:]
    return channels, height, width
