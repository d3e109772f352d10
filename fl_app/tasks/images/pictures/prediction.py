"""Pictures of any size or colour, treated as those that a model was trained on, and classified."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from fl_app.core.errors import UserError
from fl_app.data.local_files.picture import KINDS, read_picture
from fl_app.data.tensor_dataset import normalise
from fl_app.tasks.images.model_outputs import check_outputs
from fl_app.tasks.images.pictures.files import Bytes, check_is_file, read_as_it_is, read_image
from fl_app.tasks.images.pictures.preprocessing import Preprocessing

_SIDE = 28
_TOP = 3

Invert = Literal["auto", "yes", "no"]


def classify(path: Path, model: nn.Module, kind: Preprocessing, invert: Invert = "auto") -> str:
    """Return a line that says what a picture shows, and what was done to it.

    Args:
        path: See `as_in_training`.
        model: On the CPU, in evaluation mode.
        kind: What training did to its pictures.
        invert: Whether black and white are to be swapped.

    Raises:
        UserError: As `as_in_training` does, or if the model is not for such pictures.
    """
    pixels, notes = as_in_training(path, kind, invert)
    try:
        images = normalise(pixels[np.newaxis], kind.mean, kind.std)
        with torch.inference_mode():
            outputs = model(images)
        check_outputs(outputs, 1, num_classes=1)
        probabilities = outputs[0].exp()
    except RuntimeError as error:
        shape = "x".join(map(str, kind.image_shape))
        raise UserError(f"the model does not take {shape} images: {error}") from error
    if len(probabilities) < len(kind.class_names):
        raise UserError(
            f"the model knows {len(probabilities)} classes, its file names {len(kind.class_names)}"
        )
    best = probabilities[: len(kind.class_names)].topk(min(_TOP, len(kind.class_names)))
    answers = ", ".join(
        f"{kind.class_names[int(label)]} ({float(share):.1%})"
        for share, label in zip(best.values, best.indices, strict=True)
    )
    return f"{path}: {answers}" + (f"  [{'; '.join(notes)}]" if notes else "")


def as_in_training(path: Path, kind: Preprocessing, invert: Invert) -> tuple[Bytes, list[str]]:
    """Read a picture and treat it as training treated its pictures.

    Where these were all light on a dark background, so is the picture made, as `invert` says.
    Others are taken as they are, and converted if training did so. What training would have
    refused, another size or colour where the model takes grey, is adapted, and told.

    Args:
        path: A picture in one of the formats that training reads; PNG or JPEG where pictures are
            light on dark.
        kind: What training did.
        invert: Whether black and white are to be swapped; "auto" never does it to pictures that
            are taken as they are.

    Returns:
        uint8 [C, H, W], and what was done, in words.

    Raises:
        UserError: If there is no picture, it is damaged, animated, too large, or transparent where
            the model has no alpha channel.
    """
    channels, height, width = kind.image_shape
    if channels not in KINDS:
        raise UserError(f"pictures have 1, 3 or 4 channels, the model takes {channels}")
    notes: list[str] = []
    if kind.light_on_dark and (channels == 1 or kind.convert):
        image = read_image(path)
    elif kind.convert:
        check_is_file(path)
        picture = read_picture(path, kind.image_shape, convert=True)
        image = _as_image(picture.pixels.transpose(1, 2, 0))
        notes = [picture.conversion] if picture.conversion else []
    else:
        array, notes = read_as_it_is(path, channels)
        image = _as_image(array)
    pixels, done = prepare(image, invert, (height, width), kind.light_on_dark)
    pixels = pixels.reshape(height, width, -1).transpose(2, 0, 1)
    return np.broadcast_to(pixels, kind.image_shape), notes + done


def _as_image(array: Bytes) -> Image.Image:
    """Make a picture of pixels, [H, W, C]."""
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def prepare(
    image: Image.Image,
    invert: Invert,
    size: tuple[int, int] = (_SIDE, _SIDE),
    light_on_dark: bool = True,
) -> tuple[Bytes, list[str]]:
    """Bring a picture into the form of those of training: light on dark or not, of their size.

    Args:
        image: Mode "L", "RGB" or "RGBA", any size.
        invert: Whether black and white are to be swapped; "auto" looks at the border.
        size: Height and width.
        light_on_dark: Whether pictures are to be; "auto" inverts none otherwise.

    Returns:
        uint8 [H, W] or [H, W, C], and what was done, in words.
    """
    notes = []
    array = np.asarray(image)
    if invert == "yes" or (invert == "auto" and light_on_dark and _light_border(array)):
        image = Image.fromarray(_inverted(array))
        notes.append("inverted, its border is light" if invert == "auto" else "inverted")
    image, fitted = fit(image, size)
    return np.array(image, dtype=np.uint8), notes + fitted


def fit(image: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, list[str]]:
    """Resize a picture; one of other proportions is padded with its border, not distorted.

    Args:
        image: Mode "L", "RGB" or "RGBA".
        size: Height and width.

    Returns:
        The picture, and what was done, in words.
    """
    (height, width), (found_width, found_height) = size, image.size
    if (found_width, found_height) == (width, height):
        return image, []
    border = np.median(_border(np.asarray(image)), axis=0).astype(int)
    canvas_width = max(found_width, -(-found_height * width // height))
    canvas_height = max(found_height, -(-found_width * height // width))
    if (canvas_width, canvas_height) != image.size:
        colour = tuple(map(int, border)) if border.ndim else int(border)
        canvas = Image.new(image.mode, (canvas_width, canvas_height), colour)
        at = ((canvas_width - found_width) // 2, (canvas_height - found_height) // 2)
        canvas.paste(image, at)
        image = canvas
    # Pillow widens the filter when it makes a picture smaller: this does not alias.
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized, [f"resized from {found_width}x{found_height}"]


def _inverted(pixels: Bytes) -> Bytes:
    """Swap black and white, [H, W] or [H, W, C]; what is transparent stays so."""
    if pixels.ndim == 2:
        return 255 - pixels
    return np.concatenate([255 - pixels[..., :3], pixels[..., 3:]], axis=2)


def _light_border(pixels: npt.NDArray[Any]) -> bool:
    border = _border(pixels)
    return int(np.median(border if pixels.ndim == 2 else border[:, :3])) > 127


def _border(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
