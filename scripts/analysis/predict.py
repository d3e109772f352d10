"""Classify pictures with a saved model: `python -m scripts.analysis.predict --help`."""

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import nn

from fl_app.core.errors import UserError
from fl_app.data.tensor_dataset import normalise
from fl_app.results.reader import load_model, model_file, which_model
from fl_app.training.local_training import predict

_SIDE = 28
_MOST_PIXELS = 50_000_000
_TOP = 3

Invert = Literal["auto", "yes", "no"]


@dataclass(frozen=True)
class Preprocessing:
    """What a data set's images went through, and the names of its classes.

    Attributes:
        mean: Subtracted from grey values in [0, 1].
        std: Divided by after that.
        class_names: One per class.
    """

    mean: float
    std: float
    class_names: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 only if every picture was classified."""
    options = _parse(arguments)
    try:
        file = model_file(options.model.expanduser().absolute(), options.best)
        model, metadata = load_model(file, architecture=options.architecture)
        preprocessing = preprocessing_of(file, metadata)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"model {file}, trained on {metadata.get('dataset', 'an unknown data set')}")
    print(f"is {which_model(file, metadata)}")
    failed = False
    for path in options.images:
        try:
            _predict(path, model, preprocessing, options.invert)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="predict", description="Classify PNG and JPEG pictures, one object in each."
    )
    parser.add_argument("model", type=Path, help="a run directory or a .safetensors file")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="PNG or JPEG")
    parser.add_argument("--best", action="store_true", help="the run's best model, not its final")
    parser.add_argument(
        "--architecture", metavar="MODEL", help="where the model is code of yours: its path"
    )
    parser.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="the models know white on black; auto inverts pictures with a light border",
    )
    return parser.parse_args(arguments)


def _predict(path: Path, model: nn.Module, kind: Preprocessing, invert: Invert) -> None:
    pixels, notes = prepare(read_image(path), invert)
    try:
        probabilities = predict(model, normalise(pixels[np.newaxis], kind.mean, kind.std))[0]
    except RuntimeError as error:
        raise UserError(f"the model does not take 1x{_SIDE}x{_SIDE} images: {error}") from error
    if len(probabilities) < len(kind.class_names):
        raise UserError(
            f"the model knows {len(probabilities)} classes, its file names {len(kind.class_names)}"
        )
    best = probabilities[: len(kind.class_names)].topk(min(_TOP, len(kind.class_names)))
    answers = ", ".join(
        f"{kind.class_names[int(label)]} ({float(share):.1%})"
        for share, label in zip(best.values, best.indices, strict=True)
    )
    print(f"{path}: {answers}" + (f"  [{'; '.join(notes)}]" if notes else ""))


def preprocessing_of(file: Path, metadata: Mapping[str, str]) -> Preprocessing:
    """Return how the images that a model was trained on were standardised.

    Args:
        file: Where the model is from, for the message.
        metadata: The file's own, as `load_model` returns it.

    Raises:
        UserError: If the metadata does not say.
    """
    try:
        names = tuple(str(name) for name in json.loads(metadata["classes"]))
        return Preprocessing(float(metadata["mean"]), float(metadata["std"]), names)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} does not say what its classes are and how its images were standardised "
            f"({error}); a run directory's model does"
        ) from error


def read_image(path: Path) -> Image.Image:
    """Read one PNG or JPEG picture as grey values, upright and without transparency.

    Raises:
        UserError: If there is none, it is damaged, animated, or larger than 50 megapixels.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked here
            image = Image.open(path, formats=("PNG", "JPEG"))
        with image:
            return _grey(_checked(image, path))
    except UnidentifiedImageError:
        raise UserError(f"{path} is no PNG or JPEG picture") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large: {error}") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path} is damaged or cannot be read: {error}") from error


def _checked(image: Image.Image, path: Path) -> Image.Image:
    """Refuse what must not be decoded, before it is."""
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise UserError(
            f"{path} is too large: {width}x{height} pixels, {_MOST_PIXELS:,} are allowed"
        )
    # Phones save a photograph along with variants of it as "MPO"; the first is the photograph.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise UserError(f"{path} is animated; save the frame that you mean as a picture")
    return image


def _grey(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("L")
    grey_and_alpha = image.convert("RGBA").convert("LA")
    grey, alpha = (np.asarray(band, dtype=np.float64) for band in grey_and_alpha.split())
    # Whatever is drawn must stand out from what shows through.
    drawn = float((grey * alpha).sum() / max(alpha.sum(), 1.0))
    behind = 0.0 if drawn > 127 else 255.0
    flat = behind + (grey - behind) * alpha / 255
    return Image.fromarray(flat.round().astype(np.uint8))


def prepare(image: Image.Image, invert: Invert) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Bring a grey picture into the form of the data sets: white on black, 28x28.

    A picture that is not square is padded with the grey of its border, not distorted.

    Args:
        image: Mode "L", any size.
        invert: Whether black and white are to be swapped; "auto" looks at the border.

    Returns:
        uint8 [28, 28], and what was done, in words.
    """
    notes = []
    border = int(np.median(_border(np.asarray(image))))
    if invert == "yes" or (invert == "auto" and border > 127):
        image, border = ImageOps.invert(image), 255 - border
        notes.append("inverted, its border is light" if invert == "auto" else "inverted")
    width, height = image.size
    if width != height:
        side = max(image.size)
        square = Image.new("L", (side, side), border)
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        image = square
    if (width, height) != (_SIDE, _SIDE):
        notes.append(f"resized from {width}x{height}")
        # Pillow widens the filter when it makes a picture smaller: this does not alias.
        image = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return np.array(image, dtype=np.uint8), notes


def _border(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


if __name__ == "__main__":
    sys.exit(main())
