"""Models: by name or by path, and with the initial weights of a run.

A model is an `nn.Module` that takes images [N, C, H, W] and returns log-probabilities
[N, classes]. Attributes `image_shape` (C, H, W) and `num_classes` let data be checked against it.
One of your own is named in the run config like any part, `model = "/home/me/net.py:Net(width=64)"`;
one that is decorated with `@register_model("its-name")` in `fl_app.models` by that name.

What travels is decided in `fl_app.tasks.federated_model`. Integer buffers (a batch norm's count of
batches) have no meaningful average: each participant keeps those of a freshly built model.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from fl_app.core.plugins import told_as_config_error
from fl_app.core.seeding import Stream, derive_seed
from fl_app.tasks.federated_checks import check_federated
from strategies.part_kinds import KINDS
from strategies.registry import find_part, register

ModelClass = TypeVar("ModelClass", bound=Callable[..., nn.Module])

MODELS = KINDS["model"].names
"""What each name of a model stands for."""


def register_model(name: str) -> Callable[[ModelClass], ModelClass]:
    """Make a model available as `model = "<name>"` in the run config.

    Raises:
        ValueError: If the name is taken.
    """
    return register("model", name)


def build_model(name: str, seed: int) -> nn.Module:
    """Build a model with the initial weights `w_0` of a run.

    The weights depend on the model and the seed alone; the global random state is left as it was.

    Args:
        name: A name or a path, with options; see the module.
        seed: The run's.

    Raises:
        ConfigError: If there is no such model, or it cannot be built or federated.
    """
    with told_as_config_error(), torch.random.fork_rng(devices=[]):
        make = find_part("model", name)  # a user's file may draw random numbers on import
        torch.default_generator.manual_seed(derive_seed(Stream.INITIAL_WEIGHTS, seed))
        model: nn.Module = make()
    check_federated(model)
    return model
