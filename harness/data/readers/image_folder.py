"""Reader `image-folder`: PNG, JPEG and WebP files below a folder, in sorted order; sub-folders may be classes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from harness.data.readers.base import Pixels, Reader, Target, check_source, data_folder
from harness.data.readers.pictures import decode_picture

_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


class ImageFolderReader(Reader):
    """`path` is the folder; a split's `source` is a folder below it ("." for the folder itself, else the split's name).

    `resize = "center-crop-box"` takes the largest centred square and averages it over boxes; "none" refuses
    other sizes.
    """

    location: ClassVar[str | None] = "path"
    path: str | None = None
    resize: Literal["none", "center-crop-box"] = "none"

    def read(self, target: Target) -> Pixels:
        """Return all pictures below the split's folder, sorted by their relative path."""
        folder = data_folder(target, self.path, "path") / check_source(target, target.source or target.split)
        if not folder.is_dir():
            raise target.missing_error(f"found no folder {folder}", "path")
        files = _pictures(folder)
        images = target.allocate(len(files))
        labels = _classes(folder, files, target) if target.labels else None
        for index, file in enumerate(files):
            images[index] = decode_picture(_content(file, target), target, str(file), resize=self.resize)
        return Pixels(images, labels)


def _pictures(folder: Path) -> list[Path]:
    """Return the picture files below a folder, sorted by the parts of their relative path; hidden ones are left out."""
    found = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in _ENDINGS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    return sorted(found, key=lambda file: file.relative_to(folder).parts)


def _classes(folder: Path, files: list[Path], target: Target) -> np.ndarray:
    """Return labels int64 [n]: the rank of each file's first-level sub-folder among them all."""
    owners = [file.relative_to(folder).parts[0] for file in files if file.parent != folder]
    names = sorted(set(owners))
    if len(owners) != len(files) or len(names) != target.labels:
        raise target.usage_error(
            f"{folder} has {len(names)} sub-folders with pictures and {len(files) - len(owners)} pictures outside them",
            f"one sub-folder for each of the labels = {target.labels} classes",
            "sort the pictures into them, or state labels = 0 in the card",
        )
    rank = {name: index for index, name in enumerate(names)}
    return np.array([rank[owner] for owner in owners], dtype=np.int64)


def _content(file: Path, target: Target) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise target.usage_error(f"{file} cannot be read ({error.strerror})", "a readable file", "see to it") from None
