"""Images of anybody's code, as files: folders of pictures and npz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pictures(n: int, channels: int = 1, side: int = 8, seed: int = 0) -> np.ndarray:
    """Return random images, uint8 [n, channels, side, side]."""
    return np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def write_pictures(
    folder: Path, images: np.ndarray, kind: str = "PNG", ending: str = ".png", mode: str = "", **options: Any
) -> Path:
    """Write images [n, C, H, W] as files whose names sort by index; return their folder."""
    folder.mkdir()
    for index, image in enumerate(images):
        rows = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        picture = Image.fromarray(rows)
        (picture.convert(mode) if mode else picture).save(folder / f"{index:05}{ending}", kind, **options)
    return folder


def write_npz(path: Path, images: np.ndarray, channels_last: bool = True, compressed: bool = False) -> None:
    """Write images [n, C, H, W] as `arr_0` of an npz, as ADM does or with the channels first."""
    rows = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if channels_last else images
    (np.savez_compressed if compressed else np.savez)(path, rows)
