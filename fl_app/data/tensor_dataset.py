"""Examples of any kind: rows of tensors, or items that a collate function puts together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Indices = npt.NDArray[np.int64] | Tensor
Batch = Any
"""What a model is trained on in one step: mostly a tuple of tensors, the targets last."""

Collate = Callable[[list[Any]], Batch]

_BATCHES_PER_COPY = 64


class Examples(Protocol):
    """A participant's examples, or everybody's."""

    def __len__(self) -> int:
        """The number of examples N."""
        ...

    def select(self, indices: Indices) -> "BatchedExamples":
        """Return the examples at `indices` (int64 [M]), in that order, as a set of their own.

        Raises:
            IndexError: If an index is out of range.
        """
        ...


class BatchedExamples(Examples, Protocol):
    """Examples that a model can be trained on, in batches."""

    def batches(
        self, order: Tensor | None, sizes: Sequence[int], collate: Collate, device: torch.device
    ) -> Iterator[Batch]:
        """Yield the examples in an order, in batches of the sizes given, on a device.

        Args:
            order: int64 [M], positions of examples; `None` takes all as they come.
            sizes: How many each batch has; together M.
            collate: Puts a list of items together, where the examples are items.
            device: Where the batches are needed.
        """
        ...


class TensorExamples:
    """Examples as rows of tensors: `TensorExamples(inputs, targets)`, or with several inputs.

    Attributes:
        tensors: One or more of equal length N; what is predicted is the last.
    """

    def __init__(self, *tensors: Tensor) -> None:
        """Hold tensors, not copies of them.

        Raises:
            ValueError: If there are none, or their lengths differ.
        """
        if not tensors or len({len(tensor) for tensor in tensors}) > 1:
            shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors) or "none"
            raise ValueError(f"examples are one tensor or several of equal length, not {shapes}")
        self.tensors = tensors

    def __len__(self) -> int:
        """The number of examples N."""
        return len(self.tensors[-1])

    @property
    def targets(self) -> Tensor:
        """What is to be predicted, [N, ...]."""
        return self.tensors[-1]

    def select(self, indices: Indices) -> "TensorExamples":
        """Copy the examples at `indices`; see `Examples.select`."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return type(self)(*(tensor[chosen] for tensor in self.tensors))

    def batches(
        self, order: Tensor | None, sizes: Sequence[int], collate: Collate, device: torch.device
    ) -> Iterator[Batch]:
        """Yield tuples of tensors; see `BatchedExamples.batches`.

        They are copied out many at a time: a look-up per batch takes longer than a small model's
        step, and one for the whole epoch would hold the data twice.
        """
        if order is None:
            whole = zip(*(torch.split(tensor, list(sizes)) for tensor in self.tensors), strict=True)
            yield from (tuple(tensor.to(device) for tensor in batch) for batch in whole)
            return
        tensors = [tensor.to(device) for tensor in self.tensors]
        order = order.to(device)
        start = 0
        for first in range(0, len(sizes), _BATCHES_PER_COPY):
            together = list(sizes[first : first + _BATCHES_PER_COPY])
            block = order[start : start + sum(together)]
            start += len(block)
            pieces = [torch.split(tensor[block], together) for tensor in tensors]
            yield from zip(*pieces, strict=True)


class ItemExamples:
    """Examples as items of any kind, such as sequences of different lengths.

    Attributes:
        items: Anything with a length that is looked up by position, as a `torch` map-style dataset.
    """

    def __init__(self, items: Sequence[Any]) -> None:
        """Hold items, not a copy of them."""
        self.items = items

    def __len__(self) -> int:
        """The number of examples N."""
        return len(self.items)

    def select(self, indices: Indices) -> "ItemExamples":
        """See `Examples.select`."""
        return ItemExamples([self.items[int(i)] for i in indices])

    def batches(
        self, order: Tensor | None, sizes: Sequence[int], collate: Collate, device: torch.device
    ) -> Iterator[Batch]:
        """Yield what `collate` makes of lists of items; see `BatchedExamples.batches`."""
        positions = range(len(self)) if order is None else order.tolist()
        ends = list(accumulate(sizes))
        for start, end in zip([0, *ends], ends, strict=False):
            items = [self.items[position] for position in positions[start:end]]
            yield moved_to(device, collate(items))


def moved_to(device: torch.device, batch: Batch) -> Batch:
    """Return a batch with its tensors on a device: a tensor, or a tuple, list or dict of them."""
    return map_tensors(lambda tensor: tensor.to(device), batch)


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:  # noqa: ANN401
    """Return a tensor changed, or a tuple, list or dict with its tensors changed, at any depth."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: map_tensors(change, one) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(change, one) for one in value))
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(change, one) for one in value)
    return value


class ImageExamples(TensorExamples):
    """Labelled images, ready for a model: float32 [N, C, H, W], normalised, and int64 [N]."""

    @property
    def images(self) -> Tensor:
        """The images, [N, C, H, W]."""
        return self.tensors[0]

    @property
    def labels(self) -> Tensor:
        """The classes, [N]."""
        return self.tensors[-1]

    def select(self, indices: Indices) -> "ImageExamples":
        """Copy the examples at `indices`; see `Examples.select`."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return ImageExamples(self.images[chosen], self.labels[chosen])


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
    labels: Tensor
    mean: float
    std: float

    def __len__(self) -> int:
        """The number of examples N."""
        return len(self.labels)

    @property
    def targets(self) -> Tensor:
        """The classes, [N]."""
        return self.labels

    @cached_property
    def images(self) -> Tensor:
        """All images, float32 [N, 1, H, W], normalised."""
        return normalise(self.pixels, self.mean, self.std)

    def select(self, indices: Indices) -> ImageExamples:
        """Copy the examples at `indices`; see `Examples.select`."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        pixels = self.pixels[chosen.numpy()]
        return ImageExamples(normalise(pixels, self.mean, self.std), self.labels[chosen])


def normalise(images: npt.NDArray[np.uint8], mean: float, std: float) -> Tensor:
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
