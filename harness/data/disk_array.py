"""Arrays that lie in an unnamed temporary file where memory does not hold them; the system reads what is used."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

LARGEST_SHARE = 0.5
"""Of the free memory, that an array may take; a larger one lies on disk."""
_IN_MEMORY = ("tmpfs", "ramfs")  # kinds of file systems that are memory themselves


def fits_memory(size: int) -> bool:
    """Tell whether so many bytes may be held in memory."""
    return size <= LARGEST_SHARE * psutil.virtual_memory().available


def disk_room() -> int:
    """Return the bytes that temporary files may take: those that are free on a disk, 0 where their folder is memory."""
    folder = Path(tempfile.gettempdir()).resolve()
    mounts = [one for one in psutil.disk_partitions(all=True) if folder.is_relative_to(one.mountpoint)]
    nearest = max(mounts, key=lambda one: len(one.mountpoint), default=None)
    return 0 if nearest is not None and nearest.fstype in _IN_MEMORY else shutil.disk_usage(folder).free


def disk_array(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Return an array of zeros in a temporary file, which is gone with the array; OSError where the disk is full."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile() as file:  # the mapping keeps what it maps
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # else a full disk would end the process
        mapped: np.ndarray = np.memmap(file, dtype=dtype, mode="w+", shape=shape)
    return np.asarray(mapped)


def is_on_disk(array: np.ndarray) -> bool:
    """Tell whether an array is one of `disk_array`, or a part of it."""
    return isinstance(array.base, np.memmap)


def release_pages(array: np.ndarray) -> None:
    """Let go of the pages of an array on disk that this process holds; they are read again when they are used."""
    mapping: Any = getattr(array.base, "_mmap", None)
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
