"""Converts an encoded or opened picture to uint8 [channels, height, width], by one rule for all readers.

Colour data sets take RGB, palette and grey pictures (grey repeated in the three channels); grey data sets take grey
and black-and-white ones. Anything else is refused rather than converted: transparency, CMYK, 16 bits a channel, colour
for a grey data set, and several pictures in a file, as animations have. The fingerprint does not record how they were
converted. The recipes "adm" and "edm" take CMYK too, by PIL's own conversion: some pictures of ImageNet are CMYK. EXIF
rotation is not applied.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from harness.data.readers.base import WantedSplit
from harness.data.readers.resizing import FIXED_SIZES, PAPER_RECIPES
from harness.errors import UsageError

Resize = Literal["none", "center-crop-box", "area", "adm", "edm", "short-bilinear", "celeba-128"]
"""What is done with pictures of another size.

"none" refuses them, "center-crop-box" averages the largest centred square over boxes, "area" averages whole boxes, and
the others are recipes of papers, see `harness.data.readers.resizing`.
"""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MODES = {1: ("L", "1"), 3: ("RGB", "L", "1", "P")}
_IMAGENET_RECIPES, _MORE_MODES = ("adm", "edm"), ("CMYK",)
_TARGET_MODE = {1: "L", 3: "RGB"}


def decode_picture(encoded: bytes, wanted: WantedSplit, where: str, *, resize: Resize = "none") -> np.ndarray:
    """Return the pixels of an encoded picture, one of FORMATS; `where` names it in error messages."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
            return to_pixels(picture, wanted, where, resize=resize)
    except UsageError:
        raise
    except (
        Exception
    ) as error:  # damaged bytes raise whatever a decoder stumbles over: SyntaxError, struct.error, EOFError
        raise wanted.usage_error(
            f"{where} cannot be decoded ({describe_decoding(error)})",
            "a whole PNG, JPEG, WebP, BMP or TIFF picture",
            "fetch the file again",
        ) from None


def describe_decoding(error: Exception) -> str:
    """Return the kind and the first line of what a decoder raised."""
    reason = (str(error).split(" <_io.")[0].splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {reason}"


def read_content(file: Path, wanted: WantedSplit) -> bytes:
    """Return the bytes of a file of a data set; UsageError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise wanted.usage_error(f"{file} cannot be read ({error.strerror})", "a readable file", "see to it") from None


def picture_fault(picture: Image.Image) -> str:
    """Return what no data set takes in an opened picture that is not decoded yet; "" if there is nothing.

    That are several pictures in one file, of which the first would be taken, and 16 bits a channel, of which PIL drops
    eight: 0x01ff would become 1.
    """
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        return f"holds {frames} pictures"
    if any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        return "has 16 bits a channel"
    return ""


def to_pixels(picture: Image.Image, wanted: WantedSplit, where: str, *, resize: Resize = "none") -> np.ndarray:
    """Return an opened picture as uint8 [channels, height, width], of another size only as `resize` allows."""
    if fault := picture_fault(picture):
        raise wanted.usage_error(
            f"{where} {fault}", "one picture of 8 bits a channel in each file", "convert it first, or move it away"
        )
    modes = (*MODES[wanted.channels], *(_MORE_MODES if resize in _IMAGENET_RECIPES and wanted.channels == 3 else ()))
    if picture.mode not in modes or "transparency" in picture.info:
        raise wanted.usage_error(
            f"{where} has the colour mode {_mode(picture)}",
            f"one of {', '.join(modes)} without transparency for {wanted.channels} channel(s)",
            "convert the picture first, or correct `channels` in the card",
        )

    side, mode = wanted.resolution, _TARGET_MODE[wanted.channels]
    if resize == "area":
        boxes = _boxes(picture, wanted, where)
        return area_mean(_plain(picture.convert(mode), wanted.channels), boxes)
    if resize in PAPER_RECIPES:
        _check_fixed_size(picture, wanted, where, resize)
        return _plain(PAPER_RECIPES[resize](picture.convert(mode), side), wanted.channels)
    if resize == "center-crop-box" and picture.size != (side, side):
        picture = _centre(picture.convert(mode), wanted, where)

    if picture.size != (side, side):
        raise wanted.usage_error(
            f"{where} has {picture.width}x{picture.height} pixels",
            f"{side}x{side}",
            "resize the pictures first, or correct `resolution` in the card",
        )
    return _plain(picture.convert(mode), wanted.channels)


def area_mean(pixels: np.ndarray, box: int) -> np.ndarray:
    """Return uint8 [channels, height / box, width / box]: the mean of each box, rounded to nearest, a half up.

    In whole numbers, (sum + box^2 // 2) // box^2. PIL's BOX filter rounds twice, after the rows and after the columns,
    and is up to one grey level off.
    """
    channels, height, width = pixels.shape
    parts = pixels.reshape(channels, height // box, box, width // box, box)
    sums = parts.sum(axis=(2, 4), dtype=np.int64)
    return ((sums + box * box // 2) // (box * box)).astype(np.uint8)


def _plain(picture: Image.Image, channels: int) -> np.ndarray:
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels.reshape(picture.height, picture.width, channels).transpose(2, 0, 1)


def _boxes(picture: Image.Image, wanted: WantedSplit, where: str) -> int:
    """Return how many pixels a side become one; UsageError unless it is a whole number."""
    side = wanted.resolution
    times, rest = divmod(picture.width, side)
    if picture.width != picture.height or rest or not times:
        raise wanted.usage_error(
            f"{where} has {picture.width}x{picture.height} pixels",
            f'a square of a whole multiple of {side} pixels a side, which resize = "area" needs',
            "crop the pictures first, or correct `resolution` in the card",
        )
    return times


def _check_fixed_size(picture: Image.Image, wanted: WantedSplit, where: str, resize: Resize) -> None:
    if picture.size != FIXED_SIZES.get(resize, picture.size):
        raise wanted.usage_error(
            f"{where} has {picture.width}x{picture.height} pixels",
            "{}x{}, which resize = {} needs".format(*FIXED_SIZES[resize], f'"{resize}"'),
            "give the published pictures, or choose another `resize` in the card",
        )


def _centre(picture: Image.Image, wanted: WantedSplit, where: str) -> Image.Image:
    """Return the largest centred square, averaged over boxes down to the resolution; never enlarges."""
    short = min(picture.size)
    if short < wanted.resolution:
        raise wanted.usage_error(
            f"{where} has {picture.width}x{picture.height} pixels",
            f"at least {wanted.resolution} on the shorter side",
            "remove the picture, because small ones are not enlarged",
        )
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    square = (left, top, left + short, top + short)
    return picture.resize((wanted.resolution, wanted.resolution), Image.Resampling.BOX, box=square)


def _mode(picture: Image.Image) -> str:
    return f"{picture.mode} with transparency" if "transparency" in picture.info else picture.mode
