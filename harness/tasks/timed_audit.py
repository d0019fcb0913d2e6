"""What the timed calls of a trial did: their work and their images, to be compared with the scored ones.

Every image of every timed call enters. A batch of the scored size gives the scored bytes. In a call of another size
kernels round otherwise, so its images are compared, within a tolerance, with the same images of a scored batch.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from torch import Tensor

from harness.sampling.call_counts import CallCounts
from harness.sampling.pixels import image_digests
from harness.specs.audits import ImagesWork, TimedWork
from harness.specs.rules.audits import COMPARED_BYTES


@dataclass
class _Calls:
    """Calls that did the same, and made the same images."""

    first: int
    images: int
    work: ImagesWork
    images_sha256: str
    calls: int = 0


class TimedAudit:
    """The record of one timing task, on rank zero. Nothing in it runs while a call is timed."""

    def __init__(self, batch: int, scored_batch: int, ranks: int) -> None:
        self.scored_batch = scored_batch
        self.comparable = batch == scored_batch
        """Whether timed and scored batches are the same, and their bytes equal."""
        self.seconds = 0.0
        """That it took."""
        self._ranks = ranks
        self._calls: dict[tuple[object, ...], _Calls] = {}
        self._scored: dict[int, Tensor] = {}
        """Images of scored batches by index, uint8 [channels, height, width]."""
        self._others: list[tuple[tuple[object, ...], int, Tensor]] = []
        """Images of other calls: the key of these, the index, the image."""
        self._bytes: Counter[bool] = Counter()
        """Kept of scored batches and of others."""

    def record(self, kind: str, first: int, images: Tensor, call_counts: CallCounts) -> None:
        """Add a call that made images [n, channels, height, width], uint8 on the CPU, from index `first` on."""
        began = time.perf_counter()
        is_scored = kind == "untimed" or (kind == "throughput" and self.comparable)
        digest = hashlib.sha256(image_digests(images).tobytes()).hexdigest() if is_scored else ""
        work = call_counts.to_work(self._ranks)

        # calls with one image differ by their work, batches also by what they made
        place = first if is_scored else -1
        key = (kind, place, len(images), work.model_dump_json(), digest)
        self._calls.setdefault(key, _Calls(first, len(images), work, digest)).calls += 1
        self._keep(key, first, images, is_scored)
        self.seconds += time.perf_counter() - began

    def work(self) -> list[TimedWork]:
        """Return what was done, with the differences of images that were made in another batch."""
        differences: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for key, index, image in self._others:
            if (scored := self._scored.get(index)) is not None:
                differences[key].append(mean_difference(image, scored))

        return [
            TimedWork(
                kind=str(key[0]),
                first=one.first,
                images=one.images,
                work=one.work,
                calls=one.calls,
                images_sha256=one.images_sha256,
                differences=differences[key],
            )
            for key, one in self._calls.items()
        ]

    def _keep(self, key: tuple[object, ...], first: int, images: Tensor, is_scored: bool) -> None:
        """Keep the images of a call, as far as memory goes."""
        for row, image in enumerate(images):
            index = first + row
            if is_scored and index in self._scored:
                continue
            self._bytes[is_scored] += image.numel()
            if self._bytes[is_scored] > COMPARED_BYTES:
                return
            if is_scored:
                self._scored[index] = image
            else:
                self._others.append((key, index, image))


def mean_difference(image: Tensor, other: Tensor) -> float:
    """Return the mean absolute difference of two uint8 images in grey levels; 255 if their shapes differ."""
    if image.shape != other.shape:
        return 255.0
    return float((image.int() - other.int()).abs().double().mean())
