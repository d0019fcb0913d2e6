"""Reader `image-folder`: picture files below a folder, in sorted order; sub-folders may be classes.

PNG, JPEG, WebP, BMP and TIFF files are read. Links to folders are followed; a reader says what it passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from harness.data.disk_array import release_pages
from harness.data.readers.base import Pixels, Reader, WantedSplit, check_one_place, check_source, data_folder
from harness.data.readers.picture_files import find_pictures
from harness.data.readers.pictures import decode_picture, read_content

_FILES_PER_RELEASE = 1000  # after which pages of a split on disk are let go


class ImageFolderReader(Reader):
    """`path` is the folder; a split's `source` is a folder below it ("." for the folder itself, else the split's name).

    Without `path`, the folder is ONECLOCK_DATA/`folder`, or ONECLOCK_DATA/<name of the data set>.
    `resize = "center-crop-box"` takes the largest centred square and averages it over boxes; "none" refuses
    other sizes; "adm", "edm", "short-bilinear" and "celeba-128" are recipes of papers.
    """

    folder_argument: ClassVar[str | None] = "path"
    path: str | None = None
    folder: str | None = None
    resize: Literal["none", "center-crop-box", "adm", "edm", "short-bilinear", "celeba-128"] = "none"

    @model_validator(mode="after")
    def _one_place(self) -> ImageFolderReader:
        check_one_place(self.path, self.folder)
        return self

    def read(self, wanted: WantedSplit) -> Pixels:
        """Return all pictures below the split's folder, sorted by their relative path."""
        place = data_folder(wanted, self.path, "path", below=self.folder)
        folder = place / check_source(wanted, wanted.source or wanted.split)
        if not folder.is_dir():
            raise wanted.missing_error(f"found no folder {folder}", "path", self.folder)
        found = find_pictures(folder)
        files = found.files
        images = wanted.allocate(len(files), folder, found.describe_passed_over())
        labels = _classes(folder, files, wanted) if wanted.labels else None
        for index, file in enumerate(files):
            images[index] = decode_picture(read_content(file, wanted), wanted, str(file), resize=self.resize)
            if index % _FILES_PER_RELEASE == 0:
                release_pages(images)
        return Pixels(images, labels, found.describe_passed_over())


def _classes(folder: Path, files: Sequence[Path], wanted: WantedSplit) -> np.ndarray:
    """Return labels int64 [n]: the rank of each file's first-level sub-folder among them all."""
    owners = [file.relative_to(folder).parts[0] for file in files if file.parent != folder]
    names = sorted(set(owners))
    if len(owners) != len(files) or len(names) != wanted.labels:
        raise wanted.usage_error(
            f"{folder} has {len(names)} sub-folders with pictures and {len(files) - len(owners)} pictures outside them",
            f"one sub-folder for each of the labels = {wanted.labels} classes",
            "sort the pictures into them, or state labels = 0 in the card",
        )
    rank = {name: index for index, name in enumerate(names)}
    return np.array([rank[owner] for owner in owners], dtype=np.int64)
