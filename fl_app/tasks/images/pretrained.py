"""Weights that a model begins with, from a file of the user's."""

import logging
import pickle
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fl_app.core.errors import ConfigError

_KEY = "pretrained-weights"
_NESTED = "state_dict"
_COUNT = "num_batches_tracked"  # which files from before it existed lack, and nothing depends on

_DAMAGED = (EOFError, LookupError, pickle.UnpicklingError, SafetensorError)


def load_pretrained(model: nn.Module, text: str) -> None:
    """Load a state dict into a model of the same kind.

    A last layer of another shape keeps its random weights, and that is said in the log. Where a
    first convolution takes one channel, weights for three are added up, as if each channel were
    given the same grey.

    Args:
        model: With its random weights.
        text: Absolute path of a state dict: .safetensors, or what `torch.save` wrote, of which only
            tensors are read.

    Raises:
        ConfigError: If there is no such file, or it is for another model.
    """
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise ConfigError(
            f"run config: {_KEY} = {text!r} must be an absolute path, Flower runs the app elsewhere"
        )
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"run config: {_KEY} = {text!r}: {error.strerror}") from error
    saved = _read(path, found.st_mtime_ns, found.st_size)
    own = model.state_dict()
    _check_names(text, saved, own)
    last = _last_layer(model)
    for name, tensor in own.items():
        if name not in saved:
            continue
        value = saved[name]
        if value.shape != tensor.shape and value.ndim == 4 and tensor.shape[1] == 1:
            value = value.sum(1, keepdim=True)
            _say_once(f"{path}: {name} is for colour; its weights are added up, for grey")
        if value.shape == tensor.shape:
            tensor.copy_(value)
        elif name.rpartition(".")[0] == last:
            _say_once(
                f"{path}: {name} has shape {list(value.shape)}, and the model needs "
                f"{list(tensor.shape)}; its last layer, {last}, begins with random weights"
            )
        else:
            raise ConfigError(
                f"run config: {_KEY} = {text!r} does not fit the model: {name} has shape "
                f"{list(value.shape)}, not {list(tensor.shape)}"
            )


def _check_names(text: str, saved: Mapping[str, Tensor], own: Mapping[str, object]) -> None:
    missing = [name for name in own if name not in saved and not name.endswith(_COUNT)]
    if missing:
        raise ConfigError(
            f"run config: {_KEY} = {text!r} does not fit the model: it lacks {len(missing)} of "
            f"{len(own)} tensors, among them {missing[0]}; it must be the state dict of the same "
            "model"
        )
    if unknown := [name for name in saved if name not in own]:
        _say_once(f"{text}: {len(unknown)} tensors are not the model's, such as {unknown[0]}")


def _last_layer(model: nn.Module) -> str:
    with_weights = [n for n, part in model.named_modules() if list(part.parameters(recurse=False))]
    return with_weights[-1] if with_weights else ""


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int, _size: int) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, *_DAMAGED) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(_unreadable(path, why)) from error
    if isinstance(state, Mapping) and isinstance(state.get(_NESTED), Mapping):
        state = state[_NESTED]
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ConfigError(_unreadable(path, "it holds no mapping from names to tensors"))
    return state


def _unreadable(path: Path, why: str) -> str:
    return (
        f"run config: {_KEY} = {str(path)!r} is no readable state dict: {why}. Save it with "
        "torch.save(model.state_dict(), path), or as .safetensors"
    )


@lru_cache(maxsize=32)
def _say_once(line: str) -> None:
    logging.getLogger("flwr").info("%s", line)
