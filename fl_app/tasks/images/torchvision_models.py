"""Torchvision's classification models as models of this project.

Each returns log-probabilities, for as many classes and channels as are asked for. Its state dict is
torchvision's own, so that files of weights fit both ways. Nothing is ever downloaded.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn
from torchvision import models

_COLOURS = 3

# Their auxiliary outputs would need a loss of their own, and train nothing here.
_WITHOUT_AUXILIARY = ("googlenet", "inception_v3")


def torchvision_classifier(
    name: str, num_classes: int = 0, image_channels: int = 0, image_size: int = 0
) -> nn.Module:
    """Build a model with random weights.

    Args:
        name: As torchvision has it.
        num_classes: Outputs, at least 1.
        image_channels: Of the images; 0 is 3. For another number the first convolution is replaced.
        image_size: Height and width of the images, for models that must know; 0 is torchvision's.

    Raises:
        ValueError: If it is not told how many classes there are, or is not for such images.
    """
    if num_classes < 1:
        raise ValueError(f"how many classes there are is not known here; say {name}(num_classes=2)")
    options: dict[str, Any] = {"num_classes": num_classes}
    if image_size and name.startswith("vit_"):
        options["image_size"] = image_size
    if image_size and name.startswith("maxvit_"):
        options["input_size"] = (image_size, image_size)
    if name in _WITHOUT_AUXILIARY:
        options |= {"aux_logits": False, "init_weights": True}
    model: nn.Module = models.get_model(name, weights=None, **options)
    if image_channels not in (0, _COLOURS):
        _replace_first_convolution(model, image_channels)
    model.num_classes = num_classes  # type: ignore[assignment] # what data is checked by
    if image_size:
        shape = (image_channels or _COLOURS, image_size, image_size)
        model.image_shape = shape  # type: ignore[assignment]
    model.register_forward_hook(_log_probabilities)
    return model


def _log_probabilities(_model: nn.Module, _inputs: object, outputs: Tensor) -> Tensor:
    return F.log_softmax(outputs, dim=1)


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    name, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type] # two numbers, as torch keeps them
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)


def _classifiers() -> Mapping[str, Callable[..., nn.Module]]:
    names = models.list_models(module=models)
    return {name: partial(torchvision_classifier, name) for name in names}


CLASSIFIERS = _classifiers()
"""What builds each model, by torchvision's name for it."""
