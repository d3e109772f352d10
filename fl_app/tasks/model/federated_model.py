"""What of a model is federated: its tensors. `federated_checks` says whether they can be.

| tensor | what becomes of it |
| --- | --- |
| parameter with a gradient | is trained and travels; once, if it has several names |
| parameter without one | is frozen: everybody has the same, which a digest proves |
| buffer of real numbers in the state dict | is a statistic: it travels, and is averaged |
| parameter or such a buffer that is kept local | is trained, and remembered by each participant |
| everything else, `get_extra_state` included | stays where it is |

Arrays travel as float16, bfloat16, float32 or float64, as they are. bfloat16, which NumPy does not
have, is float32 in arrays, and two bytes a value on the wire: what the server keeps is not rounded
to eight bits after every round. Complex tensors travel as pairs of real numbers.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from strategies.core.model_spec import ModelSpec, TensorSpec

# From a tensor's dtype to that of its array.
TRAVELS_AS = {
    torch.float16: torch.float16,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.complex64: torch.float32,
}

_EXTRA_STATE = "_extra_state"  # what torch calls it in a state dict
_LOCAL = "_kept_local"  # the attribute of a model that names what stays with a participant


@dataclass(frozen=True)
class HeldTensor:
    """A tensor of a model's state dict.

    Attributes:
        names: All its names.
        tensor: Itself, not a copy.
        local: Whether it stays with the participant; see `keep_local`.
    """

    names: tuple[str, ...]
    tensor: Tensor
    local: bool = False

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
    local: frozenset[str] = getattr(model, _LOCAL, frozenset())
    return [
        HeldTensor(tuple(names[key]), tensor, not local.isdisjoint(names[key]))
        for key, tensor in tensors.items()
    ]


def state_names(model: nn.Module) -> list[str]:
    """Return every name of a tensor in a model's state dict, in order."""
    return [name for held in held_tensors(model) for name in held.names]


def keep_local(model: nn.Module, names: Iterable[str]) -> None:
    """Let tensors of a model stay with the participant: they do not travel.

    Args:
        model: The model.
        names: Names of parameters and buffers; one of the names of a tied tensor is enough.
    """
    vars(model)[_LOCAL] = frozenset(names)


def federated_tensors(model: nn.Module) -> list[HeldTensor]:
    """Return the tensors of a model that travel, in order."""
    return [held for held in _moving(model) if not held.local]


def local_tensors(model: nn.Module) -> list[HeldTensor]:
    """Return the tensors that training moves and that stay with the participant, in order."""
    return [held for held in _moving(model) if held.local]


def _moving(model: nn.Module) -> list[HeldTensor]:
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
            wire_dtype="bfloat16" if _is_narrow(held) else "",
            tied_to=held.names[1:],
        )
        for held in federated_tensors(model)
    )
    return ModelSpec(tensors, _frozen_digest(model))


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


def narrow_flags(model: nn.Module) -> tuple[bool, ...]:
    """Tell of each tensor that travels whether it does so as bfloat16; as `ModelSpec.narrow`."""
    return tuple(_is_narrow(held) for held in federated_tensors(model))


def _is_narrow(held: HeldTensor) -> bool:
    return held.tensor.dtype == torch.bfloat16


def trained_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that have a gradient, each once, by name and in model order."""
    return {held.names[0]: held.tensor for held in held_tensors(model) if held.trainable}


def as_real(tensor: Tensor) -> Tensor:
    """Return a complex tensor as a view of its real and imaginary parts; others as they are."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
