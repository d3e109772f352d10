"""What a model must take and return, checked before it is trained and told in words."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fl_app.tasks.task import ModelError

_TOLERANCE = 0.05
"""How far the probabilities of an image may add up to something else than 1; bfloat16 rounds."""

_MEND = "Return F.log_softmax(outputs, dim=1)"


def check_model(
    model: nn.Module, name: str, images: Tensor, num_classes: int, data_name: str
) -> None:
    """Let a model classify a few images, and refuse it if it cannot be trained on them.

    Args:
        model: With its initial weights; its mode is left as it was, and so is the global random
            state.
        name: Of the model, for messages.
        images: float32 [N, C, H, W], of the kind that it will see.
        num_classes: How many classes the data has.
        data_name: Of the data set, for messages.

    Raises:
        ModelError: Says what differs and what to change.
    """
    shape = tuple(images.shape[1:])
    declared = getattr(model, "image_shape", None)
    if declared is not None and tuple(declared) != shape:
        raise ModelError(
            f"the model {name} takes images of {dimensions(declared)} (its image_shape), the data "
            f"set {data_name} has images of {dimensions(shape)}; {_to_fit(tuple(declared))}"
        )
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs: object = model(images)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        raise ModelError(
            f"the model {name} fails on images of {dimensions(shape)}, which the data set "
            f"{data_name} has (channels x height x width): {type(error).__name__}: {error}"
        ) from error
    finally:
        model.train(training)
    check_outputs(outputs, len(images), num_classes, f"the model {name}")
    declared_classes = getattr(model, "num_classes", None)
    if isinstance(outputs, Tensor) and declared_classes not in (None, outputs.shape[1]):
        raise ModelError(
            f"the model {name} says num_classes = {declared_classes}, but has {outputs.shape[1]} "
            "outputs for an image; make the two equal"
        )


def check_outputs(
    outputs: object, num_images: int, num_classes: int, model: str = "the model"
) -> None:
    """Refuse what a model returned unless it is log-probabilities, [N, classes].

    What is not finite is let through: that is what weights that diverged give.

    Args:
        outputs: What the model returned.
        num_images: The number N of images that it was given.
        num_classes: How many classes there must be at least.
        model: The subject of a message.

    Raises:
        ModelError: Says what it is instead and what to change.
    """
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        found = f"of {outputs.dtype}" if isinstance(outputs, Tensor) else "of no tensor"
        raise ModelError(
            f"{model} returns a {type(outputs).__name__} {found}; it must return a tensor of "
            f"log-probabilities, [images, classes]. {_MEND}"
        )
    if outputs.ndim != 2 or len(outputs) != num_images:
        raise ModelError(
            f"{model} returns a tensor of shape {list(outputs.shape)} for {num_images} images; it "
            f"must be [{num_images}, classes]: one row of log-probabilities for each image"
        )
    if outputs.shape[1] < num_classes:
        raise ModelError(
            f"{model} has {outputs.shape[1]} outputs for an image, but the data has {num_classes} "
            "classes; it needs an output for each class"
        )
    _check_normalised(outputs.detach().float(), model)


def _check_normalised(values: Tensor, model: str) -> None:
    log_totals = values.logsumexp(1)
    if not bool(log_totals.isfinite().all()) or float(log_totals.abs().max()) <= _TOLERANCE:
        return
    if float(values.min()) >= 0 and float((values.sum(1) - 1).abs().max()) <= _TOLERANCE:
        raise ModelError(
            f"{model} returns probabilities, which lie between 0 and 1 and add up to 1, and not "
            f"their logarithms, of which the loss is taken. {_MEND} in place of the softmax"
        )
    raise ModelError(
        f"{model} does not return log-probabilities but something like logits: the exponentials "
        f"of an image's outputs do not add up to 1. {_MEND}"
    )


def dimensions(shape: Sequence[int]) -> str:
    """Say a shape as in 1x28x28."""
    return "x".join(map(str, shape))


def _to_fit(declared: tuple[int, ...]) -> str:
    advice = "take another model or data set"
    if len(declared) == 3 and declared[0] in (1, 3) and declared[1] == declared[2]:
        convert = f"set image-size = {declared[1]} and image-channels = {declared[0]}"
        return f"{convert} to convert them, or {advice}"
    return advice
