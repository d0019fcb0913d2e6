"""What a folder holds before it is a data set: how many pictures, of which sizes and colours, and which are broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.readers.picture_files import find_pictures
from harness.data.readers.pictures import FORMATS, MODES, picture_fault

_LARGEST_SAMPLE = 2000  # pictures whose values give the standard deviation


@dataclass(frozen=True)
class PictureSurvey:
    """Pictures below a folder. Sizes are (width, height); files are relative to the folder."""

    folder: Path
    files: tuple[Path, ...]
    sizes: Mapping[tuple[int, int], int]
    """How many pictures have each size, most frequent first."""
    channels: int
    """1 if all are grey, else 3."""
    faulty: Mapping[Path, str]
    """Files that no reader takes, with the reason."""
    passed_over: str
    """One sentence on files that are no pictures; empty if there are none."""

    @property
    def square_side(self) -> int | None:
        """Return the pixels a side if all pictures are squares of one size, else None."""
        ((width, height), *others) = self.sizes
        return width if width == height and not others else None

    @property
    def shortest_side(self) -> int:
        """Return the pixels of the shortest side of any picture."""
        return min(min(size) for size in self.sizes)


def survey_pictures(folder: Path) -> PictureSurvey:
    """Return what is in a folder of pictures; decodes every one of them."""
    sizes: Counter[tuple[int, int]] = Counter()
    grey, faulty = True, {}
    found = find_pictures(folder)

    for file in found.files:
        try:
            with Image.open(file, formats=FORMATS) as picture:
                fault = picture_fault(picture)
                picture.load()
        except Exception as error:  # damaged bytes raise whatever a decoder stumbles over
            faulty[file.relative_to(folder)] = f"cannot be decoded ({type(error).__name__})"
            continue

        # whole, but of a kind that is not taken
        if fault:
            faulty[file.relative_to(folder)] = fault
            continue
        if picture.mode not in MODES[3] or "transparency" in picture.info:
            kind = "transparent pixels" if "transparency" in picture.info else f"the colour mode {picture.mode}"
            faulty[file.relative_to(folder)] = f"has {kind}"
            continue
        grey &= picture.mode in MODES[1]
        sizes[picture.size] += 1

    relative = tuple(file.relative_to(folder) for file in found.files)
    sizes_found, channels = dict(sizes.most_common()), 1 if grey else 3
    return PictureSurvey(folder, relative, sizes_found, channels, faulty, found.describe_passed_over())


def standard_deviation(images: np.ndarray) -> float:
    """Return that of all values in [-1, 1], of uint8 images [n, ...]; of evenly spaced ones where there are many."""
    few = images[:: -(-len(images) // _LARGEST_SAMPLE)]
    return float(few.std(dtype=np.float64) / 127.5)
