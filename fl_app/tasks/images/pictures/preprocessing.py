"""What training did to pictures: it stands in the file of the model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from fl_app.core.errors import UserError
from fl_app.data.local_files.conversion import describe_conversion
from fl_app.data.local_files.schema import Agreement

# Of these data sets files that do not say so are light on dark too.
_LIGHT_ON_DARK = ("mnist", "fashion-mnist", "digits")
CONVERSION = "image-conversion"
_FIRST_SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class Preprocessing:
    """What a model's images went through, and the names of its classes.

    Attributes:
        mean: Subtracted from values in [0, 1].
        std: Divided by after that.
        class_names: One per class.
        image_shape: (C, H, W).
        light_on_dark: Whether all pictures were light on a dark background; else they were taken
            as they are.
        convert: Whether pictures of any size, grey or colour, were converted; see
            `fl_app.data.local_files.conversion`.
    """

    mean: float
    std: float
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    light_on_dark: bool
    convert: bool = False

    @property
    def agreement(self) -> Agreement:
        """What somebody's own data has to agree with."""
        return Agreement(self.class_names, self.image_shape, self.convert)


def preprocessing_of(
    file: Path | str, metadata: Mapping[str, str], model: nn.Module | None = None
) -> Preprocessing:
    """Return how the images that a model was trained on were treated.

    Args:
        file: Where the model is from, for the message.
        metadata: The file's own, as `load_model` returns it.
        model: Says the shape of images where a file of an earlier version does not.

    Raises:
        UserError: If the metadata does not say.
    """
    declared = getattr(model, "image_shape", None) or _FIRST_SHAPE
    dataset = metadata.get("dataset", "")
    try:
        names = tuple(str(name) for name in json.loads(metadata["classes"]))
        mean, std = float(metadata["mean"]), float(metadata["std"])
        shape = json.loads(metadata["image-shape"]) if "image-shape" in metadata else declared
        channels, height, width = map(int, shape)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} does not say what its classes are and how its images were standardised "
            f"({error}); a run directory's model does"
        ) from error
    told = metadata.get("light-on-dark")
    light_on_dark = dataset in _LIGHT_ON_DARK if told is None else told == "true"
    shape = channels, height, width
    conversion = metadata.get(CONVERSION)
    if conversion not in (None, describe_conversion(shape)):
        raise UserError(
            f"{file} is of pictures that were converted in a way that is not known here: "
            f"{conversion}"
        )
    return Preprocessing(mean, std, names, shape, light_on_dark, conversion is not None)


def preprocessing_metadata(kind: Preprocessing) -> dict[str, str]:
    """Return what a saved model says of it; undone by `preprocessing_of`."""
    told = {
        "classes": json.dumps(list(kind.class_names)),
        "mean": repr(kind.mean),
        "std": repr(kind.std),
        "image-shape": json.dumps(list(kind.image_shape)),
        "light-on-dark": json.dumps(kind.light_on_dark),
    }
    return told | ({CONVERSION: describe_conversion(kind.image_shape)} if kind.convert else {})
