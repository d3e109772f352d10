"""A convolution, max-pooling and relu in one, with gradients in a third of the time."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fl_app.tasks.images.convolution.kernels import CompiledPooling, compiled_pooling

_MOST_THREADS = 3  # with more, torch's own gradients are as fast: the compiled ones use one


def pooled_convolution(images: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Return `relu(max_pool2d(convolution(images), 2))`, the same to the bit.

    Where there is a C compiler the gradients are computed by
    `fl_app.tasks.images.convolution.kernels`, which skips what the pooling has made zero; they
    differ from torch's by round-off. That is so for
    float32 on up to three CPU threads, and a convolution without stride, dilation, padding or
    groups; everything else, evaluation too, is left to torch. Under autocast the convolution is
    computed in the low precision and its gradients in float32.

    Args:
        images: What the convolution takes, [N, C, H, W].
        convolution: Hooks of it are not called.
    """
    compiled = compiled_pooling() if _suits(images, convolution) else None
    if compiled is None:
        return F.relu(F.max_pool2d(convolution(images), 2))
    pooled: Tensor = _PooledConvolution.apply(
        images, convolution.weight, convolution.bias, compiled
    )
    return pooled


def _suits(images: Tensor, convolution: nn.Conv2d) -> bool:
    return (
        torch.is_grad_enabled()
        and images.dtype == convolution.weight.dtype == torch.float32
        and images.device.type == convolution.weight.device.type == "cpu"
        and images.ndim == 4
        and all(n > k for n, k in zip(images.shape[2:], convolution.kernel_size, strict=True))
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.padding == (0, 0)
        and convolution.groups == 1
        and torch.get_num_threads() <= _MOST_THREADS
    )


class _PooledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch adds to it as it likes
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        compiled: CompiledPooling,
    ) -> Tensor:
        y = F.conv2d(images, weight, bias).float()
        out, origin = compiled.pool(_channels_last(y), images)
        ctx.save_for_backward(images, weight, origin)
        ctx.compiled, ctx.has_bias = compiled, bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401 - as above
        gradient: Tensor,
    ) -> tuple[Tensor | None, ...]:
        images, weight, origin = ctx.saved_tensors
        of_images, of_weight, of_bias = ctx.compiled.gradients(
            _channels_last(gradient),
            origin,
            _channels_last(images),
            _channels_last(weight),
            ctx.needs_input_grad[0],
        )
        return of_images, of_weight, of_bias if ctx.has_bias else None, None


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)
