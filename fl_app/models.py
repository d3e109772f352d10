"""Models: the registry, seeded initial weights, and what of a model travels.

To add a model, write an `nn.Module` that takes images [N, C, H, W] and returns
log-probabilities [N, classes], and decorate it with `@register_model("its-name")`. Attributes
`image_shape` (C, H, W) and `num_classes` let data be checked against it.

What travels: parameters and floating-point buffers (a batch norm's running mean), in the
order of the state dict. Integer buffers (a batch norm's count of batches) have no meaningful
average and stay local: each participant keeps those of a freshly built model.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from numpy.typing import NDArray
from torch import Tensor, nn

from fl_app.errors import ConfigError
from fl_app.pooled_convolution import pooled_convolution
from fl_app.seeding import Stream, derive_seed

Arrays = list[NDArray[Any]]
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


@register_model("simple-cnn")
class SimpleCNN(nn.Module):
    """Two convolutions and two dense layers for 1x28x28 images; 431,080 parameters."""

    image_shape = (1, 28, 28)
    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5, 1)
        self.conv2 = nn.Conv2d(20, 50, 5, 1)
        self.fc1 = nn.Linear(4 * 4 * 50, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 1, 28, 28] to log-probabilities [N, 10]."""
        # Pooling before relu is the same function as relu before pooling, for a quarter
        # of the work: both are monotonic. So are the gradients the same.
        x = pooled_convolution(images, self.conv1)
        x = pooled_convolution(x, self.conv2)
        x = F.relu(self.fc1(x.flatten(1)))
        return F.log_softmax(self.fc2(x), dim=1)


def build_model(name: str, seed: int) -> nn.Module:
    """Build a model with the initial weights `w_0` of a run.

    The weights depend on the seed alone; the global random state is left as it was.

    Raises:
        ConfigError: If no model of that name is registered.
    """
    if name not in MODELS:
        raise ConfigError(
            f"run config: model = {name!r} is not registered; "
            f"the models are {', '.join(sorted(MODELS))}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(Stream.INITIAL_WEIGHTS, seed))
        return MODELS[name]()


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
