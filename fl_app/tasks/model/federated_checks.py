"""Whether a model can be federated, before anything is started with it."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fl_app.core.errors import ConfigError
from fl_app.tasks.model.federated_model import (
    TRAVELS_AS,
    HeldTensor,
    as_real,
    federated_tensors,
    held_tensors,
    local_tensors,
    trainable_flags,
)
from strategies.core.finite import all_finite

# What else a file of safetensors holds; complex128 is not among it.
_KEPT_AS = (
    *(torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
)


def check_federated(model: nn.Module) -> None:
    """Raise unless a model can be federated.

    Raises:
        ConfigError: If there is nothing to train, or a tensor has no shape yet, a dtype or layout
            that cannot travel, values that are not finite, or shares memory; or if it is not always
            the same tensors that are trained.
    """
    everything = held_tensors(model)
    for held in everything:
        if is_lazy(held.tensor):
            raise _refused(
                f"{held.names[0]} has no shape yet; give the layer its sizes, or run a batch "
                "through the model when it is built"
            )
        _check_kind(held.names[0], held.tensor, (*TRAVELS_AS, *_KEPT_AS))
    tensors = federated_tensors(model)
    for held in tensors:
        _check_kind(held.names[0], held.tensor, tuple(TRAVELS_AS))
        _check_finite(held.names[0], held.tensor)
    travelling = {id(held.tensor) for held in tensors}
    local = {id(held.tensor) for held in local_tensors(model)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in travelling | local:
            raise _refused(f"{name} is trained and is not in its state dict, so it cannot travel")
    if not any(held.trainable for held in tensors):
        if any(held.trainable for held in everything):
            raise _refused("nothing that is trained is federated: all of it is local")
        raise _refused("there is nothing to train: no parameter has a gradient (requires_grad)")
    _check_own(model, tensors)
    _check_memory([held for held in everything if held.is_number])
    _check_modes(model)


def _check_kind(name: str, tensor: Tensor, dtypes: Sequence[torch.dtype]) -> None:
    """Refuse a tensor that cannot travel, or not be saved."""
    if tensor.layout != torch.strided or tensor.is_meta:
        kind = "no values" if tensor.is_meta else f"the layout {tensor.layout}"
        raise _refused(f"{name} has {kind} and can neither travel nor be saved")
    if tensor.dtype not in dtypes:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise _refused(f"{name} is {tensor.dtype}; what travels or is saved is one of {known}")


def _check_finite(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that no update can be added to."""
    values = tensor.detach()
    array = as_real(values).cpu().to(TRAVELS_AS[values.dtype]).numpy()
    if not all_finite([array]):  # in a fraction of the time of looking at each value
        bad = int((~torch.isfinite(values)).sum())
        raise _refused(
            f"{name} begins with {bad} values that are not finite, of which there is no mean; "
            "register a constant with persistent=False, so that it does not travel"
        )


def _check_own(model: nn.Module, tensors: Sequence[HeldTensor]) -> None:
    """Refuse what is not the model's own: what is averaged could not be put back."""
    buffers = [
        buffer
        for module in model.modules()
        for buffer in module._buffers.values()
        if buffer is not None
    ]
    own = {id(tensor) for tensor in [*model.parameters(), *buffers]}
    for held in tensors:
        if id(held.tensor) not in own:
            raise _refused(
                f"{held.names[0]} in its state dict is neither a parameter nor a buffer of it, so "
                "a new value could not be put back; leave parameters and buffers in the state dict "
                "as they are"
            )
        if sum(buffer is held.tensor for buffer in buffers) > 1:
            raise _refused(
                f"{' and '.join(held.names)} are one buffer in several modules, which become two "
                "when the model is moved; register it in one of them"
            )


def _check_modes(model: nn.Module) -> None:
    """Refuse a model that trains other parameters in training mode than it says beforehand."""
    before = trainable_flags(model)
    modes = [(module, module.training) for module in model.modules()]
    for training in (True, False):
        model.train(training)
        if trainable_flags(model) != before:
            raise _refused(
                f"model.train({training}) changes which of its parameters have a gradient; set "
                "requires_grad once, in __init__"
            )
    for module, mode in modes:
        module.training = mode


def _check_memory(tensors: Sequence[HeldTensor]) -> None:
    """Refuse tensors, and values of one, on one memory: to write one would change another."""
    for held in tensors:
        sizes = zip(held.tensor.shape, held.tensor.stride(), strict=True)
        if any(step == 0 and n > 1 for n, step in sizes):
            raise _refused(
                f"{held.names[0]} is expanded: several of its values are one in memory; "
                "register a clone() of it"
            )
    ends = sorted((*_byte_range(held.tensor), held.names[0]) for held in tensors)
    for (_, end, name), (start, _, other) in pairwise(ends):
        if start < end:
            raise _refused(
                f"{name} and {other} are two tensors on one memory; to tie weights let both names "
                "have the same nn.Parameter"
            )


def _byte_range(tensor: Tensor) -> tuple[int, int]:
    """Return where a tensor's memory begins and ends; nothing has no memory."""
    if tensor.numel() == 0:
        return 0, 0
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return start, start + (last + 1) * tensor.element_size()


def _refused(reason: str) -> ConfigError:
    return ConfigError(f"the model cannot be federated: {reason}")
