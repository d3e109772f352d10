"""Read one picture in the form that a model takes, if that loses nothing."""

import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from fl_app.core.errors import DataError
from fl_app.data.local_files.conversion import (
    Shape,
    convert_images,
    grey_of_16_bits,
    is_grey_of_16_bits,
    packings,
    to_8_bits,
)
from fl_app.data.local_files.schema import (
    CONVERT_FIRST,
    depth_advice,
    describe_shape,
    resizing_advice,
)

# Not all that Pillow knows: to read EPS, for one, it starts another program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
# What Pillow's decoders let through on damaged files.
DAMAGED = (
    *(OSError, ValueError, TypeError, SyntaxError, EOFError),
    *(ArithmeticError, LookupError, struct.error),
)

KINDS = {1: "grey", 3: "red, green and blue", 4: "red, green, blue and alpha"}
"""What the pictures are that a model of so many channels takes."""

_FOUND = {
    **{"L": "grey", "1": "black and white", "P": "a palette", "RGB": "red, green and blue"},
    **{"LA": "grey with alpha", "PA": "a palette with alpha", "RGBA": "with alpha"},
}
# Pillow's modes that are of a model's kind as they are.
_OWN_MODES = {1: ("L", "1", "P"), 3: ("RGB", "P"), 4: ("RGBA",)}

MOST_PIXELS = 50_000_000
"""What is larger is not decoded."""

# Pillow's packings of 16 bits a channel; "BGR;16" is three channels in 16 bits.
_DEEP = re.compile(r"(?!BGR)\w+;16")

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture as a model takes it.

    Attributes:
        pixels: uint8 [C, H, W].
        conversion: What the file held and what was made of it, in words; "" where it was of the
            model's own kind.
    """

    pixels: Bytes
    conversion: str = ""


def read_picture(path: Path, shape: Shape, convert: bool = False) -> Picture:
    """Read one picture of exactly the wanted shape; nothing is decoded before that is known.

    A picture of another kind is converted if nothing of it is lost: grey for a model of colour,
    colour in which all pixels are grey for a model of grey, an alpha channel that is opaque
    everywhere. With `convert` one of any size, grey of 8 or 16 bits or colour of 8, is brought into
    the shape.

    Args:
        path: PNG, JPEG, BMP, GIF, TIFF, WebP or PPM.
        shape: (C, H, W); C is 1 (grey), 3 (red, green, blue) or 4 (with alpha).
        convert: Whether it is converted; see `fl_app.data.local_files.conversion`.

    Raises:
        DataError: If it is no picture, is damaged, animated, transparent, of another size or
            another kind of pixel.
    """
    try:
        with warnings.catch_warnings():
            # A bomb is of the wrong size, and that is what it is refused for.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                if convert:
                    return _converted(image, path, shape)
                advice = depth_advice(*shape[1:]) if is_grey_of_16_bits(image) else CONVERT_FIRST
                refuse_deep(image, path, shape[0], advice)
                _check_size(image, path, shape)
                return upright_pixels(image, path, shape[0])
    except UnidentifiedImageError:
        raise DataError(
            f"{path} is not an intact picture in a format read here "
            f"({', '.join(FORMATS)}). Move it elsewhere, or save it as PNG."
        ) from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{path} claims to be far larger than any picture; "
            f"the model takes pictures {describe_shape(*shape)}."
        ) from None
    except DAMAGED as error:
        raise DataError(
            f"{path} is damaged or cannot be read ({error}). Replace it or move it elsewhere."
        ) from error


def _check_size(image: Image.Image, path: Path, shape: tuple[int, int, int]) -> None:
    _, height, width = shape
    # Values 5 to 8 of the EXIF orientation turn the picture by a quarter.
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    found_width, found_height = reversed(image.size) if turned else image.size
    if (found_width, found_height) != (width, height):
        raise DataError(
            f"{path} is {found_width} pixels wide and {found_height} high; the model takes "
            f"pictures {width} wide and {height} high. {resizing_advice(height, width)}"
        )


def _converted(image: Image.Image, path: Path, shape: Shape) -> Picture:
    """Return a picture of any size, grey or colour, in a shape."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{path} is {width} pixels wide and {height} high; at most {MOST_PIXELS:,} pixels are "
            "read. Make it smaller before you start."
        )
    done = []
    grey = image.mode in ("L", "1", "LA")
    if is_grey_of_16_bits(image):
        grey = True
        upright, how = _grey_in_8_bits(image, path)
        done.append(how)
    else:
        refuse_deep(image, path, shape[0])
        upright = upright_pixels(image, path, 1 if grey else 3).pixels
    pixels = convert_images(torch.from_numpy(np.array(upright)), shape).numpy()
    if pixels.shape[1:] != upright.shape[1:]:
        done.append(f"resized and cropped to {shape[2]}x{shape[1]}")
    if grey and shape[0] == 3:
        done.append("grey to red, green and blue")
    if shape[0] == 1 and (upright != upright[:1]).any():
        done.append("colour to grey")
    return Picture(pixels, ", ".join(done))


def _grey_in_8_bits(image: Image.Image, path: Path) -> tuple[Bytes, str]:
    """Return a picture of 16-bit grey, upright and scaled, uint8 [1, H, W]; and say so."""
    _refuse_frames(image, path)
    values = grey_of_16_bits(image)
    if (values == image.info.get("transparency", -1)).any():
        raise _transparent(path)
    dark = " (all of it below a quarter of white)" if values.max() < 2**14 else ""
    return to_8_bits(values)[np.newaxis], f"16 bits to 8, divided by 257{dark}"


def refuse_deep(image: Image.Image, path: Path, channels: int, advice: str = CONVERT_FIRST) -> None:
    """Refuse a picture of which decoding drops bits: Pillow reads colour of 16 bits as of 8.

    Args:
        image: Open and not decoded. Its tiles say what Pillow is about to decode: how the pixels
            are packed, and for PPM the maximum.
        path: Of its file, for messages.
        channels: Of the model, likewise.
        advice: What to do about it, likewise.

    Raises:
        DataError: If a channel has more than 8 bits.
    """
    for packing, *rest in packings(image):
        most = rest[0] if image.format == "PPM" and rest else 0
        if _DEEP.match(str(packing)) or (isinstance(most, int) and most > 255):
            raise _wrong_kind(image, path, channels, advice, deep=True)


def upright_pixels(image: Image.Image, path: Path, channels: int) -> Picture:
    """Return a picture's pixels, upright, in the kind that a model of so many channels takes.

    Args:
        image: Open, of any size.
        path: Of its file, for messages.
        channels: 1 (grey), 3 (red, green, blue) or 4 (with alpha).

    Raises:
        DataError: If it has several frames, is transparent where the model has no alpha, or
            something of it would be lost.
    """
    _refuse_frames(image, path)
    if image.mode not in _FOUND or channels not in KINDS:
        raise _wrong_kind(image, path, channels)
    alpha = image.has_transparency_data
    own_kind = image.mode in _OWN_MODES[channels] and (not alpha or channels == 4)
    conversion = "" if own_kind else f"{_FOUND[image.mode]} to {KINDS[channels]}"
    upright = ImageOps.exif_transpose(image)
    if channels == 4 or alpha:
        pixels: Bytes = np.asarray(upright.convert("RGBA"))
    elif image.mode in ("L", "1"):
        pixels = np.asarray(upright.convert("L"))[..., np.newaxis]
    else:
        pixels = np.asarray(upright.convert("RGB"))
    if alpha and channels != 4:
        if (pixels[..., 3] != 255).any():
            raise _transparent(path)
        pixels = pixels[..., :3]
    if channels == 1:
        if (pixels != pixels[..., :1]).any():
            raise _wrong_kind(image, path, channels)
        pixels = pixels[..., :1]
    height, width = pixels.shape[:2]
    return Picture(
        np.broadcast_to(pixels, (height, width, channels)).transpose(2, 0, 1), conversion
    )


def _refuse_frames(image: Image.Image, path: Path) -> None:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise DataError(f"{path} has several frames; save the one that you mean as a picture.")


def _transparent(path: Path) -> DataError:
    return DataError(f"{path} has transparent parts; save it on a plain background.")


def _wrong_kind(
    image: Image.Image,
    path: Path,
    channels: int,
    advice: str = CONVERT_FIRST,
    deep: bool = False,
) -> DataError:
    bands = len(image.getbands())
    found = f"{bands} channel{'s' * (bands != 1)} (Pillow's mode {image.mode})"
    if image.mode.startswith(("I", "F")) or deep:
        found = f"more than 8 bits per channel (Pillow's mode {image.mode})"
    elif image.mode == "P":
        found = "a palette of colours"
    wanted = f"{channels} channel{'s' * (channels != 1)}"
    kind = f" ({KINDS[channels]})" if channels in KINDS else ""
    return DataError(
        f"{path} has {found}; the model takes pictures of {wanted}{kind} with 8 bits each. {advice}"
    )
