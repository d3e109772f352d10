"""What happens to training images by chance: `augmentation` in the run config.

An augmentation is a function of a batch of images [N, C, H, W] and a generator, which returns
images of the same shape; it draws from the generator alone. Images are as the model is given
them: standardised.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from fl_app.core.plugins import part
from fl_app.data.tensor_dataset import Batch
from fl_app.tasks.task import ModelError

_MARGIN = 8
"""A crop moves by up to this part of a side."""


def augmented(name: str, batches: Iterator[Batch], generator: torch.Generator) -> Iterator[Batch]:
    """Augment the images of batches.

    Args:
        name: A name or a path, with options, as in the run config.
        batches: Images and labels.
        generator: What chance is drawn from.

    Raises:
        ConfigError: If there is no such augmentation.
        ModelError: If it returns something else than images of the same shape.
    """
    with torch.random.fork_rng(devices=[]):  # a user's file may draw numbers on import
        augment = part("augmentation", name)
    for images, labels in batches:
        result = augment(images, generator)
        if not isinstance(result, Tensor) or result.shape != images.shape:
            found = list(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise ModelError(
                f"run config: augmentation = {name!r} makes {found} of images "
                f"{list(images.shape)}; it must return a tensor of the same shape"
            )
        yield result, labels


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image, left to right, with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by up to an eighth of its side, then mirror it with probability 1/2.

    What comes into view is the image reflected at its border.
    """
    height, width = images.shape[-2:]
    top, left = height // _MARGIN, width // _MARGIN
    padded = F.pad(images, (left, left, top, top), mode="reflect")
    rows = torch.randint(2 * top + 1, (len(images),), generator=generator).tolist()
    columns = torch.randint(2 * left + 1, (len(images),), generator=generator).tolist()
    moved = [
        image[:, row : row + height, column : column + width]
        for image, row, column in zip(padded, rows, columns, strict=True)
    ]
    return flip(torch.stack(moved), generator)


def trivial(images: Tensor, generator: torch.Generator) -> Tensor:
    """Do one thing of fourteen to each image, such as to turn, shear or brighten it.

    Images are rounded to 256 values between the darkest and the brightest of the batch.

    Source: Müller and Hutter, "TrivialAugment", ICCV 2021, arXiv:2103.10158, by torchvision.
    """
    from torchvision.transforms.v2 import TrivialAugmentWide  # slow to import

    low, high = images.amin(), images.amax()
    step = (high - low) / 255
    if not bool(step > 0):
        return images
    pixels = ((images - low) / step).round().to(torch.uint8)
    augment = TrivialAugmentWide()
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):  # torchvision's transforms know no generator
        torch.default_generator.manual_seed(seed)
        augmented = torch.stack([augment(image) for image in pixels])
    return augmented.to(images.dtype) * step + low
