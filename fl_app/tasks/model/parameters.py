"""The tensors of a model that travel, as arrays and back; see `federated_model`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl_app.tasks.model.federated_model import (
    TRAVELS_AS,
    HeldTensor,
    as_real,
    federated_tensors,
    held_tensors,
    local_tensors,
)

Arrays = list[NDArray[Any]]


def _to_array(tensor: Tensor) -> NDArray[Any]:
    real = as_real(tensor.detach()).cpu().to(TRAVELS_AS[tensor.dtype])
    array: NDArray[Any] = real.contiguous().clone(memory_format=torch.contiguous_format).numpy()
    return array


def as_tensors(model: nn.Module, arrays: Sequence[NDArray[Any]]) -> dict[str, Tensor]:
    """Return arrays shaped like the weights as tensors, complex where the model is, by name."""
    return {
        held.names[0]: _as_tensor(array, held.tensor)
        for held, array in zip(federated_tensors(model), arrays, strict=True)
    }


def _as_tensor(array: NDArray[Any], like: Tensor) -> Tensor:
    tensor = torch.tensor(array)
    return torch.view_as_complex(tensor) if like.is_complex() else tensor


def get_weights(model: nn.Module) -> Arrays:
    """Copy what travels out of a model, as contiguous arrays in the order of its spec."""
    return [_to_array(held.tensor) for held in federated_tensors(model)]


def set_weights(model: nn.Module, weights: Sequence[NDArray[Any]]) -> Arrays:
    """Copy weights into a model; what does not travel stays as it is.

    Args:
        model: The model to change.
        weights: What `get_weights` returned for a model of the same kind.

    Returns:
        The weights as the model has them now: those given, rounded where its dtype is narrower.

    Raises:
        ValueError: If the number of arrays or a shape differs.
    """
    targets = federated_tensors(model)
    _copy_into(targets, weights)
    if all(held.tensor.dtype == TRAVELS_AS[held.tensor.dtype] for held in targets):
        return list(weights)
    return [
        array if held.tensor.is_complex() else _to_array(held.tensor)
        for held, array in zip(targets, weights, strict=True)
    ]


def _copy_into(targets: Sequence[HeldTensor], arrays: Sequence[NDArray[Any]]) -> None:
    """Copy arrays into tensors of a model; `ValueError` if they are not of their shapes."""
    if len(arrays) != len(targets):
        raise ValueError(f"the model has {len(targets)} arrays, {len(arrays)} were given")
    with torch.no_grad():
        for held, array in zip(targets, arrays, strict=True):
            target = as_real(held.tensor.detach())
            if tuple(target.shape) != array.shape:
                raise ValueError(
                    f"{held.names[0]} has shape {tuple(target.shape)}, "
                    f"an array of {array.shape} was given"
                )
            target.copy_(torch.tensor(array))


def local_arrays(model: nn.Module) -> Arrays:
    """Copy what stays with a participant out of a model; see `keep_local`."""
    return [_to_array(held.tensor) for held in local_tensors(model)]


def load_local(model: nn.Module, arrays: Sequence[NDArray[Any]] | None) -> None:
    """Copy what `local_arrays` returned into a model of the same kind; `None` changes nothing.

    Raises:
        ValueError: If the number of arrays or a shape differs.
    """
    if arrays is not None:
        _copy_into(local_tensors(model), arrays)


def state_arrays(
    model: nn.Module, weights: Sequence[NDArray[Any]] | None = None
) -> dict[str, NDArray[Any]]:
    """Return a model's whole state dict as arrays, for a file that `load_state_dict` takes.

    What is frozen or stays local is in it, and a tied tensor under each of its names. bfloat16
    becomes float32.

    Args:
        model: A model of the kind that is trained.
        weights: One array per tensor that travels; by default the model's own.
    """
    weights = get_weights(model) if weights is None else weights
    given = as_tensors(model, weights)
    state: dict[str, NDArray[Any]] = {}
    for held in held_tensors(model):
        tensor = given.get(held.names[0], held.tensor.detach().cpu())
        wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        state |= dict.fromkeys(held.names, wide.contiguous().numpy())
    return {name: state[name] for name in model.state_dict() if name in state}


def load_state(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Copy what `state_arrays` returned into a model of the same kind."""
    with torch.no_grad():
        for held in held_tensors(model):
            for name in held.names:
                if name in arrays:
                    held.tensor.copy_(torch.tensor(arrays[name]))
