"""Picture grids: the first images of a trial side by side, as a PNG from which they can be read back."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from harness.storage.disk import make_own_folder, replace

COLUMNS = 8
SHOWN_SIDE = 64
"""Pixels that each side of a picture has at least: smaller ones are enlarged by a whole factor, without smoothing."""
GAP = 8
"""Pixels between pictures."""
_GROUND = 232
"""The grey between pictures: neither the black nor the white that pictures end in."""
_KEY = "grid"
_OLD_SIDE = 32
"""Grids without geometry have no gaps, pictures enlarged to about this side, and black ones at the end."""
_MOST_PIXELS = 1 << 24


@dataclass(frozen=True)
class _Geometry:
    """Where the pictures of a grid lie, in pixels of the grid."""

    count: int
    channels: int
    height: int
    width: int
    factor: int
    gap: int
    columns: int

    @property
    def rows(self) -> int:
        """Return the number of rows of pictures."""
        return -(-self.count // self.columns)

    def size(self) -> tuple[int, int]:
        """Return the height and width of the grid."""
        return (
            self.rows * (self.factor * self.height + self.gap) - self.gap,
            self.columns * (self.factor * self.width + self.gap) - self.gap,
        )

    def corner(self, number: int) -> tuple[int, int]:
        """Return the upper left corner of a picture, its line and column."""
        row, column = divmod(number, self.columns)
        return row * (self.factor * self.height + self.gap), column * (self.factor * self.width + self.gap)


def write_grid(path: Path, pictures: np.ndarray) -> None:
    """Write uint8 pictures [n, channels, height, width], n >= 1, as one PNG of eight columns with its geometry."""
    make_own_folder(path.parent)
    replace(path, encode_grid(pictures))


def encode_grid(pictures: np.ndarray) -> bytes:
    """Return the PNG of uint8 pictures [n, channels, height, width]: grey for one channel, else RGB."""
    n, channels, height, width = pictures.shape
    factor = max(1, -(-SHOWN_SIDE // min(height, width)))
    geometry = _Geometry(n, channels, height, width, factor, GAP, min(n, COLUMNS))

    # pictures on their ground
    canvas = np.full((*geometry.size(), channels), _GROUND, dtype=np.uint8)
    for number, picture in enumerate(enlarge(pictures, factor)):
        top, left = geometry.corner(number)
        canvas[top : top + picture.shape[1], left : left + picture.shape[2]] = picture.transpose(1, 2, 0)

    # bytes, with the geometry as text
    text, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text(_KEY, json.dumps(asdict(geometry)))
    image = Image.fromarray(canvas[..., 0] if channels == 1 else canvas)
    image.save(stream, format="PNG", pnginfo=text)  # `optimize` takes ten times as long for nothing
    return stream.getvalue()


def enlarge(pictures: np.ndarray, factor: int) -> np.ndarray:
    """Return pictures [..., height, width] with each pixel repeated `factor` times along both sides."""
    return pictures.repeat(factor, -2).repeat(factor, -1)


def read_pictures(data: bytes) -> np.ndarray | None:
    """Return the uint8 pictures [n, channels, height, width] of a grid at their own size.

    None for anything that is not whole: no PNG, another size than its geometry says, too many pixels.
    Of grids written before geometry was stored, square pictures are found by their repeated pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > _MOST_PIXELS or image.mode not in ("L", "RGB"):
                return None
            pixels = np.asarray(image)
            text = image.info.get(_KEY)
        canvas = pixels[..., None] if pixels.ndim == 2 else pixels
        geometry = _old_geometry(canvas) if text is None else _Geometry(**json.loads(text))
    except (OSError, UnidentifiedImageError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        return None
    return None if geometry is None else _cut(canvas, geometry)


def _cut(canvas: np.ndarray, geometry: _Geometry) -> np.ndarray | None:
    """Return the pictures of a grid [height, width, channels]; None if it does not have the size that is said."""
    numbers = asdict(geometry).items()
    if not all(isinstance(value, int) and value >= (name != "gap") for name, value in numbers):
        return None
    if canvas.shape != (*geometry.size(), geometry.channels):
        return None

    step = geometry.factor
    found = []
    for top, left in map(geometry.corner, range(geometry.count)):
        block = canvas[top : top + step * geometry.height : step, left : left + step * geometry.width : step]
        found.append(block.transpose(2, 0, 1))
    return np.stack(found)


def _old_geometry(canvas: np.ndarray) -> _Geometry | None:
    """Return the geometry of a grid without one: eight columns of square pictures, the black ones at the end left out.

    None if the sides do not fit.
    """
    height, width, channels = canvas.shape
    tile = width // COLUMNS
    if not tile or width % COLUMNS or height % tile:
        return None

    # the largest factor by which every pixel is repeated, and which the writer would have taken
    possible = [f for f in range(_OLD_SIDE, 0, -1) if tile % f == 0 and f == max(1, _OLD_SIDE // (tile // f))]
    factor = next((f for f in possible if _is_repeated(canvas, f)), 0)
    tiles = canvas.reshape(height // tile, tile, COLUMNS, tile, channels).any(axis=(1, 3, 4)).reshape(-1)
    if not factor or not tiles.any():
        return None

    count = int(np.flatnonzero(tiles)[-1]) + 1
    return _Geometry(count, channels, tile // factor, tile // factor, factor, 0, COLUMNS)


def _is_repeated(canvas: np.ndarray, factor: int) -> bool:
    return bool((enlarge(canvas[::factor, ::factor].transpose(2, 0, 1), factor).transpose(1, 2, 0) == canvas).all())
