"""Picture grids: the same images of every trial side by side."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from harness.storage.disk import replace

_COLUMNS = 8
_SMALLEST_SIDE = 32  # pixels a picture is enlarged to, by whole factors and without smoothing


def write_grid(path: Path, pictures: np.ndarray) -> None:
    """Write uint8 pictures [n, channels, height, width] as one PNG of eight columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(grid(pictures)).save(buffer, format="PNG")
    replace(path, buffer.getvalue())


def grid(pictures: np.ndarray) -> np.ndarray:
    """Return the pictures tiled as uint8 [rows * height, columns * width] (grey) or [..., 3], missing ones black."""
    n, channels, height, width = pictures.shape
    factor = max(1, _SMALLEST_SIDE // height)
    rows = -(-n // _COLUMNS)
    canvas = np.zeros((rows * _COLUMNS, channels, height, width), dtype=np.uint8)
    canvas[:n] = pictures
    tiled = canvas.reshape(rows, _COLUMNS, channels, height, width).transpose(0, 3, 1, 4, 2)
    flat = tiled.reshape(rows * height, _COLUMNS * width, channels).repeat(factor, 0).repeat(factor, 1)
    return flat[..., 0] if channels == 1 else flat
