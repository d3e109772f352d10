"""What participants with images of their own agree on: the classes, and the shape of an image."""

from torch import nn

from fl_app.core.errors import ConfigError
from fl_app.data.local_files.conversion import Shape
from fl_app.data.local_files.schema import same_class
from fl_app.tasks.images.model_outputs import dimensions


def agreed_class_names(text: str, model: nn.Module, name: str) -> tuple[str, ...]:
    """Return the classes, by label.

    Args:
        text: The run config's class-names.
        model: May say how many classes it tells apart (num_classes).
        name: The model's, for messages.

    Raises:
        ConfigError: As `read_class_names` does, or if the model has fewer classes.
    """
    names = read_class_names(text)
    num_classes = getattr(model, "num_classes", None)
    if num_classes is not None and len(names) > num_classes:
        raise ConfigError(
            f"run config: class-names has {len(names)} names, the model {name} tells "
            f"{num_classes} classes apart; take a model with more, such as torchvision's resnet18 "
            "with image-size = 64"
        )
    return names


def agreed_shape(model: nn.Module, name: str, size: int, channels: int) -> Shape:
    """Return the shape (C, H, W) of the images that a model is given.

    Args:
        model: May say which it takes (image_shape).
        name: The model's, for messages.
        size: The run config's image-size; 0 is as the model says.
        channels: The run config's image-channels; likewise.

    Raises:
        ConfigError: If neither says, or the model takes others.
    """
    declared = getattr(model, "image_shape", None)
    if declared is None and not size:
        raise ConfigError(
            f"run config: the model {name} has no image_shape (C, H, W), which dataset = 'own' "
            "needs to check images against; set image-size, to which images are resized and cropped"
        )
    own_channels, height, width = declared or (channels or 3, size, size)
    takes = own_channels, height, width
    wanted = channels or own_channels, size or height, size or width
    if wanted != takes:
        raise ConfigError(
            f"run config: image-size = {size} and image-channels = {channels} ask for images of "
            f"{dimensions(wanted)}, and the model {name} takes {dimensions(takes)}; leave them at "
            "0, or take a model for images of any size, such as torchvision's resnet18"
        )
    return wanted


def read_class_names(text: str) -> tuple[str, ...]:
    """Return the class names of the run config, by label.

    Raises:
        ConfigError: If a name is empty or comes twice, or two stand for one folder.
    """
    names = tuple(name.strip() for name in text.split(","))
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(f"run config: class-names = {text!r} has an empty name, or one twice")
    if twice := same_class(names):
        raise ConfigError(
            f"run config: the class-names {twice[0]!a} and {twice[1]!a} stand for one folder of "
            "pictures; make each unique"
        )
    return names
