"""Images that anybody's code made, a folder of pictures or an npz: opened, checked against a data set, read in blocks.

Nothing is converted but the order of axes: what has another size or other colours than the data set's pictures is
refused, because a figure of converted images is not that of the images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.cards import DatasetCard
from harness.data.image_archive import open_archive
from harness.data.readers.base import WantedSplit
from harness.data.readers.picture_files import PictureFiles, find_pictures
from harness.data.readers.pictures import FORMATS, decode_picture, describe_decoding, picture_fault, read_content
from harness.errors import UsageError

_MODES = {1: ("L", "1"), 3: ("RGB", "P")}
"""Colour modes that are taken: not grey for a colour data set, which a sampler of colours does not make."""
_COLOURS = {1: "grey (PIL's mode L)", 3: "colour (PIL's mode RGB)"}
_NAMED = 3  # sizes that one sentence holds
_LOSSY_WEBP = b"VP8 "  # the first chunk, at byte 12; lossless ones begin VP8L


@dataclass(frozen=True)
class OwnImages:
    """Images that are there to be scored; their pixels are read when they are needed."""

    place: Path
    n: int
    cautions: tuple[str, ...]
    """Sentences on what is odd about them, and on what was passed over."""
    read_blocks: Callable[[int], Iterator[np.ndarray]]
    """Yields uint8 [m, C, H, W], so many images at a time, in index order; UsageError for what cannot be decoded."""


def open_own_images(place: Path, card: DatasetCard) -> OwnImages:
    """Return the images of a folder of pictures or an npz with `arr_0`, which must look like those of a data set.

    UsageError for no images, mixed sizes, another size or other colours than the data set's, and broken files; what
    only decoding shows is raised when the images are read.
    """
    if place.is_dir():
        return _open_folder(place, card)
    if not place.exists():
        raise UsageError(f"found no {place}; expected a folder of pictures, or an npz of images")
    if place.suffix.lower() != ".npz":
        raise UsageError(f"{place} is neither a folder nor an npz; expected a folder of pictures, or an npz with arr_0")

    archive = open_archive(place, card.name, (card.channels, card.resolution))
    unused = f"{place}: passed over the arrays {', '.join(archive.passed_over)}; images are read from arr_0"
    return OwnImages(place, archive.n, (unused,) if archive.passed_over else (), archive.read_blocks)


def _open_folder(folder: Path, card: DatasetCard) -> OwnImages:
    found = find_pictures(folder)
    passed_over = found.describe_passed_over()
    if not found.files:
        others = f" ({passed_over})" if passed_over else ""
        raise UsageError(f"found no picture in {folder}{others}; expected the images to be scored, so put them there")

    kinds = [_Kind.of(file) for file in found.files]
    _check_sizes(folder, kinds, card)
    _check_colours(found, kinds, card)
    lossy = sum(kind.lossy for kind in kinds)
    cautions = [one for one in (passed_over, _describe_lossy(folder, lossy, len(kinds))) if one]
    wanted = _WantedImages(card.name, "images", None, None, card.channels, card.resolution)

    def read_blocks(size: int) -> Iterator[np.ndarray]:
        for first in range(0, len(found.files), size):
            part = found.files[first : first + size]
            yield np.stack([decode_picture(read_content(file, wanted), wanted, str(file)) for file in part])

    return OwnImages(folder, len(found.files), tuple(cautions), read_blocks)


class _WantedImages(WantedSplit):
    """What the decoder must know of images that belong to no split; its sentences name the file alone."""

    def usage_error(self, found: str, expected: str, remedy: str) -> UsageError:
        del remedy  # of a card, which does not describe these files
        return UsageError(f"{found}; expected {expected}, so write the images again")


@dataclass(frozen=True)
class _Kind:
    """What the head of a picture file says."""

    size: tuple[int, int]
    mode: str
    lossy: bool

    @classmethod
    def of(cls, file: Path) -> _Kind:
        """Return it without decoding the pixels; UsageError for a file that is no picture, or holds several."""
        try:
            with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as picture:
                fault = picture_fault(picture)
                size, mode, form = picture.size, picture.mode, picture.format
                stream.seek(12)
                lossy = form in ("JPEG", "MPO") or (form == "WEBP" and stream.read(4) == _LOSSY_WEBP)
        except Exception as error:  # damaged bytes raise whatever a decoder stumbles over
            reason = describe_decoding(error)
            raise UsageError(
                f"{file} cannot be decoded ({reason}); expected a whole picture, so write it again"
            ) from None
        if fault:
            raise UsageError(f"{file} {fault}; expected one picture of 8 bits a channel, so write it again")
        return cls(size, mode, lossy)


def _check_sizes(folder: Path, kinds: list[_Kind], card: DatasetCard) -> None:
    sizes = Counter(kind.size for kind in kinds)
    side = card.resolution
    if list(sizes) == [(side, side)]:
        return
    named = ", ".join(f"{count:,} of {w}x{h}" for (w, h), count in sizes.most_common(_NAMED))
    more = f" and {len(sizes) - _NAMED} other sizes" if len(sizes) > _NAMED else ""
    raise UsageError(
        f"{folder} holds pictures of {'other' if len(sizes) == 1 else 'mixed'} sizes ({named}{more}); expected all of "
        f'{side}x{side} pixels, as those of "{card.name}", so score images of that size, or name another data set'
    )


def _check_colours(found: PictureFiles, kinds: list[_Kind], card: DatasetCard) -> None:
    wrong = [(file, kind.mode) for file, kind in zip(found.files, kinds, strict=True) if not _fits(kind, card)]
    if wrong:
        file, mode = wrong[0]
        raise UsageError(
            f"{len(wrong):,} of the {len(kinds):,} pictures in {found.folder} have other colours, the first, "
            f'{file.name}, the mode {mode}; expected {_COLOURS[card.channels]} as "{card.name}" has; write them so'
        )


def _fits(kind: _Kind, card: DatasetCard) -> bool:
    return kind.mode in _MODES[card.channels]


def _describe_lossy(folder: Path, lossy: int, n: int) -> str:
    if not lossy:
        return ""
    return (
        f"{lossy:,} of the {n:,} pictures in {folder} are JPEG or lossy WebP: FID of saved JPEGs is off, as it "
        "sees what compression did to the images (Parmar et al. 2022, arXiv:2104.11222); write them as PNG, or as npz"
    )
