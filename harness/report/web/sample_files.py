"""Sample pictures of a results folder, and strips of them as addresses that a page holds."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from harness.storage.disk import read_regular
from harness.storage.sample_grid import read_pictures

_TRIAL_ID = re.compile(r"[0-9a-f]{64}")  # it becomes a file name: nothing else may
_LARGEST_SAMPLE = 8 << 20  # bytes
STRIP_PICTURES = 8
"""Pictures of a strip."""
_SHOWN_SIDE = 64
_LEAST_GAP = 6
"""Pixels between pictures that are shown at `_SHOWN_SIDE` pixels."""


def read_samples(folder: Path, trial_ids: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the sample pictures by trial_id, uint8 [n, channels, height, width].

    Anything but a regular PNG file of at most 8 MB that holds a grid of pictures is left out.
    """
    found = {}
    for trial_id in trial_ids:
        path = folder / f"{trial_id}.png"
        if not _TRIAL_ID.fullmatch(trial_id) or not path.is_file() or path.is_symlink():
            continue
        data = read_regular(path)
        pictures = read_pictures(data) if len(data) <= _LARGEST_SAMPLE else None
        if pictures is not None and len(pictures):
            found[trial_id] = pictures
    return found


def strip_addresses(pictures: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return by trial_id the address of a strip: the first pictures in a row at their own size, gaps between them.

    The page enlarges it, so that a picture is shown at about 64 pixels with 6 or more between two.
    """
    return {trial_id: _strip(found[:STRIP_PICTURES]) for trial_id, found in pictures.items()}


def strip_width(n: int, height: int, width: int) -> int:
    """Return the pixels of a strip of n pictures at their own size, gaps included."""
    return n * (width + _gap(height)) - _gap(height)


def _gap(height: int) -> int:
    return -(-_LEAST_GAP * height // _SHOWN_SIDE)


def _strip(pictures: np.ndarray) -> str:
    n, channels, height, width = pictures.shape
    gap = _gap(height)
    canvas = np.zeros(
        (height, strip_width(n, height, width), channels + 1), dtype=np.uint8
    )  # with a transparent ground
    for number, picture in enumerate(pictures):
        left = number * (width + gap)
        canvas[:, left : left + width, :channels] = picture.transpose(1, 2, 0)
        canvas[:, left : left + width, channels] = 255

    stream = io.BytesIO()
    Image.fromarray(canvas, "LA" if channels == 1 else "RGBA").save(stream, format="PNG", optimize=True)
    return data_url("image/png", stream.getvalue())


def data_url(kind: str, data: bytes) -> str:
    """Return a file as an address that holds it, such as data:image/png;base64,..."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
