"""What of a model is federated: its tensors, and whether they can be.

| tensor | what becomes of it |
| --- | --- |
| parameter with a gradient | is trained and travels; once, if it has several names |
| parameter without one | is frozen: everybody has the same, which a digest proves |
| buffer of real numbers in the state dict | is a statistic: it travels, and is averaged |
| everything else, `get_extra_state` included | stays where it is |

Arrays travel as float16, float32 or float64, as they are. bfloat16, which NumPy does not have,
travels as float32: what the server keeps is not rounded to eight bits after every round. Complex
tensors travel as pairs of real numbers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fl_app.core.errors import ConfigError
from strategies.core.model_spec import ModelSpec, TensorSpec

# From a tensor's dtype to that of the array that travels.
TRAVELS_AS = {
    torch.float16: torch.float16,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}

_EXTRA_STATE = "_extra_state"  # what torch calls it in a state dict


@dataclass(frozen=True)
class HeldTensor:
    """A tensor of a model's state dict.

    Attributes:
        names: All its names.
        tensor: Itself, not a copy.
    """

    names: tuple[str, ...]
    tensor: Tensor

    @property
    def is_number(self) -> bool:
        """Whether its values are real or complex numbers, and not integers."""
        return self.tensor.is_floating_point() or self.tensor.is_complex()

    @property
    def is_extra_state(self) -> bool:
        """Whether a module made it for the state dict, by `get_extra_state`."""
        return self.names[0].rpartition(".")[2] == _EXTRA_STATE

    @property
    def frozen(self) -> bool:
        """Whether it is a parameter that has no gradient."""
        return isinstance(self.tensor, nn.Parameter) and not self.tensor.requires_grad

    @property
    def trainable(self) -> bool:
        """Whether it is a parameter that has a gradient."""
        return isinstance(self.tensor, nn.Parameter) and self.tensor.requires_grad


def held_tensors(model: nn.Module) -> list[HeldTensor]:
    """Return the tensors of a model's state dict, each once, in order."""
    tensors: dict[int, Tensor] = {}
    names: dict[int, list[str]] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):  # a module may add what it likes
            tensors[id(value)] = value
            names.setdefault(id(value), []).append(name)
    return [HeldTensor(tuple(names[key]), tensor) for key, tensor in tensors.items()]


def federated_tensors(model: nn.Module) -> list[HeldTensor]:
    """Return the tensors of a model that travel, in order."""
    return [
        held
        for held in held_tensors(model)
        if held.is_number and not held.frozen and not held.is_extra_state
    ]


def model_spec(model: nn.Module) -> ModelSpec:
    """Describe what of a model is federated.

    Args:
        model: One that `check_federated` lets pass.
    """
    tensors = tuple(
        TensorSpec(
            name=held.names[0],
            shape=tuple(as_real(held.tensor).shape),
            dtype=str(TRAVELS_AS[held.tensor.dtype]).removeprefix("torch."),
            trainable=held.trainable,
            tied_to=held.names[1:],
        )
        for held in federated_tensors(model)
    )
    return ModelSpec(tensors, _frozen_digest(model))


def check_federated(model: nn.Module) -> None:
    """Raise unless a model can be federated.

    Raises:
        ConfigError: If there is nothing to train, or a tensor has no shape yet, a dtype or layout
            that cannot travel, values that are not finite, or shares memory; or if it is not always
            the same tensors that are trained.
    """
    for held in held_tensors(model):
        if is_lazy(held.tensor):
            raise _refused(
                f"{held.names[0]} has no shape yet; give the layer its sizes, or run a batch "
                "through the model when it is built"
            )
    tensors = federated_tensors(model)
    for held in tensors:
        _check_tensor(held.names[0], held.tensor)
    travelling = {id(held.tensor) for held in tensors}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in travelling:
            raise _refused(f"{name} is trained and is not in its state dict, so it cannot travel")
    if not any(held.trainable for held in tensors):
        raise _refused("there is nothing to train: no parameter has a gradient (requires_grad)")
    _check_own(model, tensors)
    _check_memory([held for held in held_tensors(model) if held.is_number])
    _check_modes(model)


def _check_tensor(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is to travel and cannot."""
    if tensor.layout != torch.strided or tensor.is_meta:
        kind = "no values" if tensor.is_meta else f"the layout {tensor.layout}"
        raise _refused(f"{name} has {kind} and cannot travel")
    if tensor.dtype not in TRAVELS_AS:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in TRAVELS_AS)
        raise _refused(f"{name} is {tensor.dtype}; what travels is one of {known}")
    if bad := int((~torch.isfinite(tensor.detach())).sum()):
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


def _frozen_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    frozen = [held for held in held_tensors(model) if held.frozen]
    for held in frozen:
        raw = held.tensor.detach().cpu().contiguous()
        digest.update(f"{held.names}{raw.dtype}{tuple(raw.shape)}".encode())
        digest.update(raw.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest() if frozen else ""


def trainable_flags(model: nn.Module) -> list[bool]:
    """Tell of each tensor that travels whether it has a gradient."""
    return [held.trainable for held in federated_tensors(model)]


def trained_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that have a gradient, each once, by name and in model order."""
    return {held.names[0]: held.tensor for held in held_tensors(model) if held.trainable}


def as_real(tensor: Tensor) -> Tensor:
    """Return a complex tensor as a view of its real and imaginary parts; others as they are."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
