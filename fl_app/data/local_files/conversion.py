"""Pictures of any size and colour, brought into the form that a model takes, in one way.

`describe_conversion` says which way that is; a saved model carries the sentence.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from fl_app.data.tensor_dataset import Batch, Collate, GreyExamples, ImageExamples, Indices

Shape = tuple[int, int, int]

_EXAMPLES_PER_STEP = 64
_WHITE = np.uint16(65535)
_PHOTOMETRIC = 262  # the tag of a TIFF that says whether white is 0


def describe_conversion(shape: Shape) -> str:
    """Say what becomes of a picture for a model that takes pictures of a shape (C, H, W)."""
    channels, height, width = shape
    colour = "colour to grey by luma (ITU-R 601)" if channels == 1 else "grey to equal channels"
    return (
        f"16-bit grey divided by 257 and rounded; upright; {colour}; resized until it covers "
        f"{width}x{height} (bilinear, antialiased); centre crop to {width}x{height}"
    )


def packings(image: Image.Image) -> Iterator[tuple[Any, ...]]:
    """Yield how Pillow is about to decode parts of a picture: first how pixels are packed."""
    for *_, arguments in getattr(image, "tile", ()):
        yield arguments if isinstance(arguments, tuple) else (arguments,)


def is_grey_of_16_bits(image: Image.Image) -> bool:
    """Tell whether a picture that is not decoded yet has one channel from 0 to 65535."""
    if image.format == "PPM":
        return image.mode == "I"  # whatever the maximum, Pillow scales it to 65535
    # Those of 12 bits are read into 16, but only up to 4095.
    return image.mode.startswith("I;16") and all(kind != "I;12" for kind, *_ in packings(image))


def grey_of_16_bits(image: Image.Image) -> npt.NDArray[np.uint16]:
    """Decode a picture that `is_grey_of_16_bits`, upright and with white as 65535, [H, W]."""
    # Pillow inverts a TIFF in which white is 0 if it has 8 bits, and not if it has 16.
    white_is_zero = image.format == "TIFF" and image.getexif().get(_PHOTOMETRIC) == 0
    values = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
    return _WHITE - values if white_is_zero else values


def to_8_bits(values: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.uint8]:
    """Scale 0 to 65535 to 0 to 255: divided by 257 and rounded, so that white stays white."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def convert_images(images: Tensor, shape: Shape) -> Tensor:
    """Bring images into a shape: channels, then size; see `describe_conversion`.

    What has the shape already is left as it is, to the bit.

    Args:
        images: [..., C, H, W], of 1 or 3 channels; uint8, or a floating dtype.
        shape: (C, H, W) wanted, of 1 or 3 channels.

    Returns:
        [..., C, H, W] of the same dtype.
    """
    from torchvision.transforms.v2 import InterpolationMode  # slow to import, and rarely needed
    from torchvision.transforms.v2 import functional as transforms

    channels, height, width = shape
    if channels == 1 and images.shape[-3] == 3:
        # Rounded, because a pixel of equal channels has to keep its value.
        grey = transforms.rgb_to_grayscale(images.float() if _is_bytes(images) else images)
        images = grey.round().to(images.dtype) if _is_bytes(images) else grey
    elif channels == 3 and images.shape[-3] == 1:
        images = images.expand(*images.shape[:-3], 3, *images.shape[-2:])
    found_height, found_width = images.shape[-2:]
    covering = _covering(found_height, found_width, height, width)
    if covering != (found_height, found_width):
        images = transforms.resize(
            images.contiguous(), list(covering), InterpolationMode.BILINEAR, antialias=True
        )
    if covering != (height, width):
        images = transforms.center_crop(images, [height, width])
    return images


def convert_array(images: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """Convert the images of an array, [N, C, H, W], uint8 or shares of white from 0 to 1."""
    dtype = torch.uint8 if images.dtype == np.uint8 else torch.float32
    result = torch.empty((len(images), *shape), dtype=dtype)
    for start in range(0, len(images), _EXAMPLES_PER_STEP):
        some = np.ascontiguousarray(images[start : start + _EXAMPLES_PER_STEP])
        converted = convert_images(torch.from_numpy(some).to(dtype), shape)
        result[start : start + _EXAMPLES_PER_STEP] = converted
    if dtype == torch.float32:
        result.clamp_(0, 1)  # which rounding may have left
    return result.numpy()


class ConvertedExamples:
    """Labelled images that are converted as they are needed: all at once may be too many.

    Attributes:
        labels: int64 [N].
    """

    def __init__(self, examples: ImageExamples | GreyExamples, shape: Shape) -> None:
        """Hold examples, not a copy of them."""
        self._examples = examples
        self._shape = shape
        self.labels = examples.labels

    def __len__(self) -> int:
        """The number of examples N."""
        return len(self._examples)

    @property
    def targets(self) -> Tensor:
        """The classes, [N]."""
        return self.labels

    def select(self, indices: Indices) -> ImageExamples:
        """Copy the examples at `indices`, converted; see `Examples.select`."""
        chosen = self._examples.select(indices)
        return ImageExamples(convert_images(chosen.images, self._shape), chosen.labels)

    def batches(
        self, order: Tensor | None, sizes: Sequence[int], collate: Collate, device: torch.device
    ) -> Iterator[Batch]:
        """Convert batch by batch; see `BatchedExamples.batches`."""
        positions = torch.arange(len(self)) if order is None else order
        for block in torch.split(positions, list(sizes)):
            yield from self.select(block).batches(None, [len(block)], collate, device)


def _covering(height: int, width: int, wanted_height: int, wanted_width: int) -> tuple[int, int]:
    """Return the smallest size of the same proportions that covers what is wanted."""
    if height * wanted_width <= width * wanted_height:
        return wanted_height, width * wanted_height // height
    return height * wanted_width // width, wanted_width


def _is_bytes(images: Tensor) -> bool:
    return images.dtype == torch.uint8
