"""A split in memory: read once per process, counted, fingerprinted, and refused if it differs from its card."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from dataclasses import dataclass

import numpy as np

from harness.data.cards import DatasetCard
from harness.data.disk_array import is_on_disk, release_pages
from harness.data.readers.base import DATA_SETTING, Pixels
from harness.errors import DataAbsentError, UsageError
from harness.identity import content_hash

Stamp = tuple[tuple[str, int, int], ...]
ORIGINAL = "original"
UNPINNED = "unpinned"
_UNPINNED_NOTE = "the card pins no fingerprint of these pixels; results hold for exactly this copy"
_IMAGES_PER_BLOCK = 1000  # that are hashed at once
_LOG = logging.getLogger("oneclock.data")
_loaded: dict[str, tuple[Stamp, Split]] = {}
_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 [n, channels, height, width] (read-only), labels int64 [n] or None, fingerprint and variant.

    `fingerprint` is the SHA-256 of the pixels and belongs in every identity. `variant` is "original" (as pinned), the
    name of a known copy, or "unpinned"; `note` describes it, and is empty for the original.
    """

    images: np.ndarray
    labels: np.ndarray | None
    fingerprint: str
    variant: str
    note: str

    @property
    def is_on_disk(self) -> bool:
        """Tell whether the images lie in a temporary file, since memory does not hold them."""
        return is_on_disk(self.images)


def load_split(card: DatasetCard, split: str) -> Split:
    """Return a split of a data set, verified against its card.

    Later calls in this process return the same object while the files are unchanged. Thread-safe; blocks while reading.
    """
    key = content_hash([card.model_dump(mode="json"), os.environ.get(DATA_SETTING, ""), split])
    stamp = card.arguments.file_stamp(card.wanted_split(split))
    with _lock:
        if key not in _loaded or _loaded[key][0] != stamp:
            _loaded[key] = stamp, _read(card, split)
        return _loaded[key][1]


def load_whole_split(card: DatasetCard, split: str) -> Split:
    """Return a split as `load_split` does, for what holds all of it at once; UsageError where memory does not."""
    found = load_split(card, split)
    if found.is_on_disk:
        raise card.wanted_split(split).usage_error(
            f"its images take {found.images.nbytes / 1e9:.1f} GB, more than half of the free memory",
            "a split that memory holds, because what learns from it holds it whole",
            "use a larger machine, or networks and methods that are neither trained nor prepared here",
        )
    return found


def count_images(card: DatasetCard, split: str) -> int | None:
    """Return how many images a split has: as the card states, else as are found; None if they are absent."""
    if card.splits[split].n is not None:
        return card.splits[split].n
    try:
        return len(load_split(card, split).images)
    except DataAbsentError:
        return None


def pixel_fingerprint(images: np.ndarray) -> str:
    """Return the SHA-256 of "uint8[n,c,h,w]", a line feed, and the pixels' bytes in C order."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise TypeError(f"found {images.dtype}{list(images.shape)}; expected uint8 [n, channels, height, width]")
    header = f"uint8[{','.join(map(str, images.shape))}]\n"
    digest = hashlib.sha256(header.encode())
    for first in range(0, len(images), _IMAGES_PER_BLOCK):
        digest.update(np.ascontiguousarray(images[first : first + _IMAGES_PER_BLOCK]).data)
        release_pages(images)
    return digest.hexdigest()


def _read(card: DatasetCard, split: str) -> Split:
    pixels = card.arguments.read(card.wanted_split(split))
    if pixels.passed_over:
        _LOG.warning('data set "%s", split "%s": %s', card.name, split, pixels.passed_over)
    labels = _labels(card, split, pixels)
    fingerprint = pixel_fingerprint(pixels.images)
    variant, note = _variant(card, split, fingerprint)
    if is_on_disk(pixels.images):
        size = pixels.images.nbytes / 1e9
        _LOG.info('data set "%s", split "%s": its images take %.1f GB and lie on disk', card.name, split, size)
    pixels.images.flags.writeable = False
    return Split(pixels.images, labels, fingerprint, variant, note)


def _labels(card: DatasetCard, split: str, pixels: Pixels) -> np.ndarray | None:
    """Return the labels if the card has classes; UsageError if one is outside their range."""
    if card.labels == 0:
        return None

    wanted = card.wanted_split(split)
    if pixels.labels is None:
        raise wanted.usage_error(
            "the reader gave no labels",
            f"labels 0 to {card.labels - 1}",
            "name the `label` column under [arguments] of the card, or state labels = 0",
        )

    low, high = int(pixels.labels.min()), int(pixels.labels.max())
    if low < 0 or high >= card.labels:
        raise wanted.usage_error(
            f"labels run from {low} to {high}", f"0 to {card.labels - 1}", "correct `labels` in the card"
        )
    pixels.labels.flags.writeable = False
    return pixels.labels


def _variant(card: DatasetCard, split: str, fingerprint: str) -> tuple[str, str]:
    """Return the name and note of the copy of the data that has these pixels."""
    pinned = card.splits[split].sha256
    if fingerprint == pinned:
        return ORIGINAL, ""
    for name, variant in card.variants.items():
        if variant.sha256.get(split) == fingerprint:
            return name, variant.note

    if pinned is None:
        return UNPINNED, _UNPINNED_NOTE
    raise UsageError(
        f'data set "{card.name}", split "{split}": the pixels have the SHA-256 {fingerprint}; expected {pinned}; '
        "the data differ from those of the card, so fetch them again, or write a card of another name for them"
    )
