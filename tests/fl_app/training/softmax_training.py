"""Softmax regression, whose gradient can be written down, and its training."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.metrics import finished
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.model.parameters import Arrays, get_weights
from fl_app.training.local.local_training import LocalUpdate, local_update
from fl_app.training.local.sgd import Precision, TrainingSettings

TASK = ImageClassification()
TASK.num_classes = 3


def accuracy_of(update: LocalUpdate) -> float:
    return finished(TASK.metrics, update.sums)["accuracy"]


class Softmax(nn.Module):
    """Multinomial regression: its gradient can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.fc(images.flatten(1)), dim=1)


class Counting(Softmax):
    """Counts steps, and the examples in each."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return super().forward(images)


class Dropping(Softmax):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(F.dropout(images, 0.5, self.training))


def examples(n: int, seed: int = 0) -> ImageExamples:
    generator = torch.Generator().manual_seed(seed)
    return ImageExamples(
        torch.randn(n, 1, 2, 2, generator=generator), torch.randint(3, (n,), generator=generator)
    )


def fresh(kind: type[nn.Module] = Softmax) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return kind()


def train(
    model: nn.Module,
    data: ImageExamples,
    *,
    epochs: int = 1,
    batch: int = 4,
    rate: float = 0.1,
    seed: int = 7,
    precision: Precision = "float32",
) -> LocalUpdate:
    return local_update(
        TASK,
        model,
        get_weights(model),
        data,
        TrainingSettings(epochs, batch, rate, precision),
        torch.Generator().manual_seed(seed),
    )


def bits(update: LocalUpdate) -> list[bytes]:
    return [array.tobytes() for array in update.weights]


def minus(a: Arrays, b: Arrays) -> Arrays:
    return [x - y for x, y in zip(a, b, strict=True)]


def norm(arrays: Arrays) -> float:
    return float(np.linalg.norm(np.concatenate([array.ravel() for array in arrays])))


def as_float64(model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = get_weights(model)
    return weight.astype(np.float64), bias.astype(np.float64)
