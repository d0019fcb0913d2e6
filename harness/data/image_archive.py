"""An npz of images, as ADM's sampling script writes them: `arr_0`, uint8, read block by block and never whole.

Dhariwal & Nichol 2021, arXiv:2105.05233. Only plain arrays are read; nothing that is pickled in a file is run.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.errors import UsageError

_ARRAY = "arr_0"
_FAULTS = (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What a damaged, encrypted or foreign archive raises."""


@dataclass(frozen=True)
class ImageArchive:
    """Images in an npz, whose head was read and found right."""

    path: Path
    shape: tuple[int, ...]
    """[n, H, W, C] or [n, C, H, W]."""
    channels_last: bool
    passed_over: tuple[str, ...]
    """Names of other arrays, such as labels."""

    @property
    def n(self) -> int:
        """Return the number of images."""
        return self.shape[0]

    def read_blocks(self, size: int) -> Iterator[np.ndarray]:
        """Yield uint8 [m, C, H, W], m images at most; UsageError if the file is damaged or ends too early."""
        row = int(np.prod(self.shape[1:]))
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{_ARRAY}.npy") as stream:
                _read_head(stream)
                for first in range(0, self.n, size):
                    m = min(size, self.n - first)
                    pixels = np.frombuffer(_read_exactly(stream, m * row), np.uint8).reshape(m, *self.shape[1:])
                    yield np.array(pixels.transpose(0, 3, 1, 2) if self.channels_last else pixels, order="C")
        except _FAULTS as error:
            raise _damaged(self.path, error) from None


def open_archive(path: Path, dataset: str, picture: tuple[int, int]) -> ImageArchive:
    """Return the images of an npz for pictures of (channels, side).

    UsageError for another format, and for an array of another type, shape or order. `dataset` is what messages name.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if _ARRAY not in names:
                held = ", ".join(names[:8]) or "nothing"
                raise UsageError(f"{path} holds {held}; expected {_ARRAY}, so write it by np.savez(FILE, images)")
            with archive.open(f"{_ARRAY}.npy") as stream:
                shape, in_columns, dtype = _read_head(stream)
    except _FAULTS as error:
        raise _damaged(path, error) from None

    if dtype != np.uint8 or in_columns:
        order = " in Fortran's order" if in_columns else ""
        raise UsageError(f"{_ARRAY} of {path} is {dtype}{order}; expected uint8 in C order, 0 to 255, so convert it")
    channels_last = _is_channels_last(path, shape, dataset, picture)
    return ImageArchive(path, shape, channels_last, tuple(name for name in names if name != _ARRAY))


def _is_channels_last(path: Path, shape: tuple[int, ...], dataset: str, picture: tuple[int, int]) -> bool:
    channels, side = picture
    last, first = (side, side, channels), (channels, side, side)
    if len(shape) == 4 and shape[0] > 0 and shape[1:] in (last, first):
        return shape[1:] == last  # where both fit, as ADM writes it
    raise UsageError(
        f"{_ARRAY} of {path} has the shape {list(shape)}; expected [n, {side}, {side}, {channels}] or "
        f'[n, {channels}, {side}, {side}], n images like the pictures of "{dataset}"'
    )


def _read_head(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the order is Fortran's, and type of an npy stream, which then stands at its data."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"version {version} of the format npy")


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise EOFError("it ends too early")
    return content


def _damaged(path: Path, error: Exception) -> UsageError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return UsageError(f"{path}: found no sound npz ({reason}); expected plain arrays with {_ARRAY}, so write it again")
