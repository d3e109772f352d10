"""Models: the registry, seeded initial weights, and what of a model travels.

To add a model, write an `nn.Module` that takes images [N, C, H, W] and returns
log-probabilities [N, classes], and decorate it with `@register_model("its-name")`. Attributes
`image_shape` (C, H, W) and `num_classes` let data be checked against it.

What travels: parameters and floating-point buffers (a batch norm's running mean), in the
order of the state dict. Integer buffers (a batch norm's count of batches) have no meaningful
average and stay local: each participant keeps those of a freshly built model.
"""

import importlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from fl_app.core.errors import ConfigError
from fl_app.core.seeding import Stream, derive_seed

ModelClass = TypeVar("ModelClass", bound=Callable[[], nn.Module])

MODELS: dict[str, Callable[[], nn.Module]] = {}


def register_model(name: str) -> Callable[[ModelClass], ModelClass]:
    """Make a model available as `model = "<name>"` in the run config."""

    def register(model_class: ModelClass) -> ModelClass:
        if name in MODELS:
            raise ValueError(f"a model named {name!r} is registered already")
        MODELS[name] = model_class
        return model_class

    return register


def build_model(name: str, seed: int) -> nn.Module:
    """Build a model with the initial weights `w_0` of a run.

    The weights depend on the seed alone; the global random state is left as it was.

    Raises:
        ConfigError: If no model of that name is registered.
    """
    importlib.import_module("fl_app.tasks.image_classification")  # registers itself
    if name not in MODELS:
        raise ConfigError(
            f"run config: model = {name!r} is not registered; "
            f"the models are {', '.join(sorted(MODELS))}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(Stream.INITIAL_WEIGHTS, seed))
        return MODELS[name]()
