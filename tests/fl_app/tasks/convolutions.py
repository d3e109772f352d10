"""Convolutions with batches of images, pooled and by the textbook."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.tasks.images.convolution.pooled import pooled_convolution


class Case(NamedTuple):
    """A batch and a convolution."""

    samples: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel: tuple[int, int]


CASES = [
    Case(3, 1, 28, 28, 20, (5, 5)),
    Case(3, 20, 12, 12, 50, (5, 5)),
    Case(2, 3, 11, 14, 7, (3, 3)),  # an odd height is cut by the pooling
    Case(2, 13, 6, 9, 3, (2, 4)),  # a length of 52: 48 and 4
    Case(1, 19, 5, 6, 2, (1, 3)),  # 57: 48, 8 and 1
    Case(1, 2, 54, 52, 2, (3, 3)),  # 650 pooled values: more than are listed at a time
    Case(0, 1, 8, 8, 2, (3, 3)),
]


def batch(case: Case, seed: int = 0) -> tuple[Tensor, nn.Conv2d]:
    generator = torch.Generator().manual_seed(seed)
    size = (case.samples, case.channels, case.height, case.width)
    images = torch.randn(size, generator=generator)
    convolution = nn.Conv2d(case.channels, case.outputs, case.kernel)
    with torch.no_grad():
        for parameter in convolution.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return images, convolution


def textbook(images: Tensor, convolution: nn.Conv2d) -> Tensor:
    return F.relu(F.max_pool2d(convolution(images), 2))


def gradients(
    function: Callable[[Tensor, nn.Conv2d], Tensor], images: Tensor, convolution: nn.Conv2d
) -> list[Tensor]:
    """The gradients of images, weight and bias where that of each output is drawn at random."""
    images = images.detach().clone().requires_grad_()
    out = function(images, convolution)
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype)
    return list(torch.autograd.grad(out, [images, *convolution.parameters()], upstream))


def is_compiled(images: Tensor, convolution: nn.Conv2d) -> bool:
    name = type(pooled_convolution(images, convolution).grad_fn).__name__
    return name == "_PooledConvolutionBackward"
