"""Pictures of any size, brought into the form of those that a model was trained on."""

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from fl_app.core.errors import DataError, UserError
from fl_app.data.local_files.picture import DAMAGED, FORMATS, KINDS, refuse_deep, upright_pixels
from scripts.analysis.preprocessing import Preprocessing

_SIDE = 28
_MOST_PIXELS = 50_000_000

Invert = Literal["auto", "yes", "no"]
Bytes = npt.NDArray[np.uint8]


def as_in_training(path: Path, kind: Preprocessing, invert: Invert) -> tuple[Bytes, list[str]]:
    """Read a picture and treat it as training treated its pictures.

    Where these were all light on a dark background, so is the picture made, as `invert` says.
    Others are taken as they are: what training would have refused, another size or colour where
    the model takes grey, is adapted, and told.

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
    if kind.light_on_dark and channels == 1:
        pixels, notes = prepare(read_image(path), invert, (height, width))
        return pixels[np.newaxis], notes
    if channels not in KINDS:
        raise UserError(f"pictures have 1, 3 or 4 channels, the model takes {channels}")
    array, notes = _read_as_it_is(path, channels)
    if invert == "yes" or (invert == "auto" and kind.light_on_dark and _light_border(array)):
        array = np.concatenate([255 - array[..., :3], array[..., 3:]], axis=2)
        notes.append("inverted" if invert == "yes" else "inverted, its border is light")
    image = Image.fromarray(array[..., 0] if channels == 1 else array)
    image, fitted = fit(image, (height, width))
    pixels = np.array(image, np.uint8).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1), notes + fitted


def _read_as_it_is(path: Path, channels: int) -> tuple[Bytes, list[str]]:
    """Return uint8 [H, W, C], upright, and what was lost of the picture."""
    with _open(path, FORMATS) as image:
        try:
            refuse_deep(image, path, channels)
            picture = upright_pixels(_checked(image, path), path, channels)
        except DataError:
            # Colour can be left out, and that is told; what shows through cannot be guessed.
            coloured = image.mode in ("RGB", "P") and not image.has_transparency_data
            if channels != 1 or not coloured:
                raise
            grey = ImageOps.exif_transpose(image).convert("L")
            return np.array(grey)[..., np.newaxis], ["its colour is left out"]
        except DAMAGED as error:
            raise UserError(f"{path} is damaged or cannot be read: {error}") from error
    return picture.pixels.transpose(1, 2, 0), []


def read_image(path: Path) -> Image.Image:
    """Read one PNG or JPEG picture as grey values, upright and without transparency.

    Raises:
        UserError: If there is none, it is damaged, animated, or larger than 50 megapixels.
    """
    with _open(path, ("PNG", "JPEG")) as image:
        try:
            return _grey(_checked(image, path))
        except DAMAGED as error:
            raise UserError(f"{path} is damaged or cannot be read: {error}") from error


def _open(path: Path, formats: tuple[str, ...]) -> Image.Image:
    if not path.is_file():
        raise UserError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked here
            return Image.open(path, formats=formats)
    except UnidentifiedImageError:
        known = " or ".join(formats) if len(formats) < 3 else f"one of {', '.join(formats)}"
        raise UserError(f"{path} is no {known} picture") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large: {error}") from error
    except DAMAGED as error:
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


def prepare(
    image: Image.Image, invert: Invert, size: tuple[int, int] = (_SIDE, _SIDE)
) -> tuple[Bytes, list[str]]:
    """Bring a grey picture into the form of the data sets: white on black, of their size.

    Args:
        image: Mode "L", any size.
        invert: Whether black and white are to be swapped; "auto" looks at the border.
        size: Height and width.

    Returns:
        uint8 [H, W], and what was done, in words.
    """
    notes = []
    if invert == "yes" or (invert == "auto" and _light_border(np.asarray(image))):
        image = ImageOps.invert(image)
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


def _light_border(pixels: npt.NDArray[Any]) -> bool:
    border = _border(pixels)
    return int(np.median(border if pixels.ndim == 2 else border[:, :3])) > 127


def _border(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
