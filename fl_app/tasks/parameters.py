"""What of a model travels: its weights as arrays, and back."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Arrays = list[NDArray[Any]]


def _travelling(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            yield name, tensor


def travelling_names(model: nn.Module) -> list[str]:
    """Return the state-dict names of the arrays that `get_weights` returns, in its order."""
    return [name for name, _ in _travelling(model)]


def trainable_flags(model: nn.Module) -> list[bool]:
    """Tell of each travelling tensor, in the order of `get_weights`, whether it has a gradient."""
    parameters = dict(model.named_parameters())
    return [name in parameters and parameters[name].requires_grad for name, _ in _travelling(model)]


def get_weights(model: nn.Module) -> Arrays:
    """Copy what travels out of a model, as contiguous arrays in state-dict order."""
    return [
        tensor.detach().cpu().contiguous().clone(memory_format=torch.contiguous_format).numpy()
        for _, tensor in _travelling(model)
    ]


def set_weights(model: nn.Module, weights: Sequence[NDArray[Any]]) -> None:
    """Copy weights into a model; its integer buffers stay as they are.

    Args:
        model: The model to change.
        weights: What `get_weights` returned for a model of the same kind.

    Raises:
        ValueError: If the number of arrays or a shape differs.
    """
    targets = list(_travelling(model))
    if len(weights) != len(targets):
        raise ValueError(f"the model has {len(targets)} arrays, {len(weights)} were given")
    with torch.no_grad():
        for (name, target), array in zip(targets, weights, strict=True):
            if tuple(target.shape) != array.shape:
                raise ValueError(
                    f"{name} has shape {tuple(target.shape)}, an array of {array.shape} was given"
                )
            target.copy_(torch.tensor(array))
