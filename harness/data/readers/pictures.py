"""From an encoded or opened picture to uint8 [channels, height, width], by one rule for all readers.

Colour data sets take RGB, palette and grey pictures (grey repeated in the three channels); grey data sets take grey
and black-and-white ones. Anything else (transparency, CMYK, 16 bits, colour for a grey data set) is refused rather than
converted, because the conversion would be a choice that the fingerprint cannot tell. EXIF rotation is not applied.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from harness.data.readers.base import Target

_FORMATS = ("PNG", "JPEG", "WEBP")
_MODES = {1: ("L", "1"), 3: ("RGB", "L", "1", "P")}
_TARGET_MODE = {1: "L", 3: "RGB"}


def decode(encoded: bytes, target: Target, where: str, *, crop: bool = False) -> np.ndarray:
    """Return the pixels of an encoded PNG, JPEG or WebP picture; `where` names it in the sentence of a failure."""
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:
            return to_pixels(picture, target, where, crop=crop)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).split(" <_io.")[0]
        raise target.refuse(
            f"{where} cannot be decoded ({type(error).__name__}: {reason})",
            "a whole PNG, JPEG or WebP picture",
            "fetch the file again",
        ) from None


def to_pixels(picture: Image.Image, target: Target, where: str, *, crop: bool = False) -> np.ndarray:
    """Return an opened picture as uint8 [channels, height, width]; with `crop`, centre-cropped and box-averaged."""
    if picture.mode not in _MODES[target.channels] or "transparency" in picture.info:
        raise target.refuse(
            f"{where} has the colour mode {_mode(picture)}",
            f"one of {', '.join(_MODES[target.channels])} without transparency for {target.channels} channel(s)",
            "convert the picture first, or correct `channels` in the card",
        )
    side = target.resolution
    if crop and picture.size != (side, side):
        picture = _centre(picture.convert(_TARGET_MODE[target.channels]), target, where)
    if picture.size != (side, side):
        raise target.refuse(
            f"{where} has {picture.width}x{picture.height} pixels",
            f"{side}x{side}",
            "resize the pictures first, or correct `resolution` in the card",
        )
    pixels = np.asarray(picture.convert(_TARGET_MODE[target.channels]), dtype=np.uint8)
    return pixels.reshape(side, side, target.channels).transpose(2, 0, 1)


def _centre(picture: Image.Image, target: Target, where: str) -> Image.Image:
    """Return the largest centred square, averaged over boxes down to the resolution; never enlarges."""
    short = min(picture.size)
    if short < target.resolution:
        raise target.refuse(
            f"{where} has {picture.width}x{picture.height} pixels",
            f"at least {target.resolution} on the shorter side",
            "remove the picture, because small ones are not enlarged",
        )
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    square = (left, top, left + short, top + short)
    return picture.resize((target.resolution, target.resolution), Image.Resampling.BOX, box=square)


def _mode(picture: Image.Image) -> str:
    return f"{picture.mode} with transparency" if "transparency" in picture.info else picture.mode
