"""Read pictures that a person names: any size, and some that training would refuse."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from fl_app.core.errors import DataError, UserError
from fl_app.data.local_files.conversion import to_8_bits
from fl_app.data.local_files.picture import (
    DAMAGED,
    FORMATS,
    MOST_PIXELS,
    refuse_deep,
    upright_pixels,
)

Bytes = npt.NDArray[np.uint8]


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


def read_as_it_is(path: Path, channels: int) -> tuple[Bytes, list[str]]:
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


def check_is_file(path: Path) -> None:
    """Raise a `UserError` if there is no file."""
    if not path.is_file():
        raise UserError(f"{path} is not a file" if path.exists() else f"{path} does not exist")


def _open(path: Path, formats: tuple[str, ...]) -> Image.Image:
    check_is_file(path)
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
    if width * height > MOST_PIXELS:
        raise UserError(
            f"{path} is too large: {width}x{height} pixels, {MOST_PIXELS:,} are allowed"
        )
    # Phones save a photograph along with variants of it as "MPO"; the first is the photograph.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise UserError(f"{path} is animated; save the frame that you mean as a picture")
    return image


def _grey(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # which Pillow would clip
        return Image.fromarray(to_8_bits(np.asarray(image)))
    if not image.has_transparency_data:
        return image.convert("L")
    grey_and_alpha = image.convert("RGBA").convert("LA")
    grey, alpha = (np.asarray(band, dtype=np.float64) for band in grey_and_alpha.split())
    # Whatever is drawn must stand out from what shows through.
    drawn = float((grey * alpha).sum() / max(alpha.sum(), 1.0))
    behind = 0.0 if drawn > 127 else 255.0
    flat = behind + (grey - behind) * alpha / 255
    return Image.fromarray(flat.round().astype(np.uint8))
