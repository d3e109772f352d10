"""Labelled images, ready for a model or as files hold them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled images, ready for a model.

    Attributes:
        images: float32 [N, C, H, W], normalised.
        labels: int64 [N].
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        """The number of examples N."""
        return len(self.labels)

    def select(self, indices: npt.NDArray[np.int64] | torch.Tensor) -> "Examples":
        """Copy the examples at `indices` (int64 [M]), in that order.

        Raises:
            IndexError: If an index is out of range.
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return Examples(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class GreyExamples:
    """Labelled grey images as files hold them: who selects some has only those normalised.

    Of a common set a participant trains on a part, and the server needs no more than the labels.

    Attributes:
        pixels: uint8 [N, H, W].
        labels: int64 [N].
        mean: Subtracted from pixels in [0, 1].
        std: Divided by after that.
    """

    pixels: npt.NDArray[np.uint8]
    labels: torch.Tensor
    mean: float
    std: float

    def __len__(self) -> int:
        """The number of examples N."""
        return len(self.labels)

    @cached_property
    def images(self) -> torch.Tensor:
        """All images, float32 [N, 1, H, W], normalised."""
        return normalise(self.pixels, self.mean, self.std)

    def select(self, indices: npt.NDArray[np.int64] | torch.Tensor) -> Examples:
        """Copy the examples at `indices` (int64 [M]), in that order.

        Raises:
            IndexError: If an index is out of range.
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        pixels = self.pixels[chosen.numpy()]
        return Examples(normalise(pixels, self.mean, self.std), self.labels[chosen])


def normalise(images: npt.NDArray[np.uint8], mean: float, std: float) -> torch.Tensor:
    """Scale images to [0, 1] and standardise them, all at once.

    Bit-identical to torchvision's `ToTensor` followed by `Normalize((mean,), (std,))`.

    Args:
        images: uint8 [N, H, W], or [N, C, H, W].
        mean: Subtracted after scaling.
        std: Divided by after that.

    Returns:
        float32 [N, C, H, W], with one channel where none was given.
    """
    pixels = torch.from_numpy(images.astype(np.float32)).div_(255)
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    return pixels.sub_(torch.tensor(mean)).div_(torch.tensor(std))
