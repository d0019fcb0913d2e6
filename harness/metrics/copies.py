"""Copies: how many generated images lie nearer to a training image than held-out images do.

A network that has memorised its training images returns them, and FID against those images rewards it. The measure is
the distance to the nearest training image, compared with that of held-out images (Meehan, Chaudhuri, Dasgupta 2020
compare the same two samples by rank). A generated image counts as a copy if it is nearer than the 1 % quantile of
held-out images, so held-out images have a copy rate of 1 %. That quantile is itself an estimate: from 297 held-out
images it may be the true 0.3 % or 3 % quantile. The bound of what chance allows includes this.

Vectors may be pixels in [-1, 1] or features; the distance is Euclidean. With flips, mirrored training images count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import betabinom
from torch import Tensor

from harness.sampling.pixels import scale_to_unit
from harness.specs.rules.quality import COPY_QUANTILE

_DISTANCES = 10_000_000  # in memory at a time
_CANDIDATES = 8  # whose distances are taken exactly


@dataclass(frozen=True)
class CopyTest:
    """Training vectors, and the distance below which a generated image counts as a copy."""

    training: Tensor
    """Float32 [n, d]."""
    threshold: float
    held_out: int
    """How many held-out images the threshold comes from."""
    held_out_median: float
    """Median distance of held-out images to their nearest training image."""

    @classmethod
    def of(cls, training: Tensor, held_out: Tensor) -> CopyTest:
        """Return the test of training vectors [n, d] by held-out ones [m, d].

        ValueError if either is empty, or if over 1 % of the held-out images are training images.
        """
        if not len(training) or not len(held_out):
            raise ValueError(f"found {len(training)} training and {len(held_out)} held-out images; expected some")
        distances = nearest_distances(held_out, training)
        threshold = float(torch.quantile(distances, COPY_QUANTILE))
        if threshold <= 0:
            raise ValueError(f"over {COPY_QUANTILE:.0%} of the held-out images are training images; expected none")
        return cls(training, threshold, len(held_out), float(distances.median()))

    def distances(self, generated: Tensor) -> Tensor:
        """Return the distance of each generated vector [k, d] to its nearest training vector, float32 [k]."""
        return nearest_distances(generated, self.training)

    def rate(self, generated: Tensor) -> float:
        """Return the share of generated vectors [k, d] that are copies."""
        return float((self.distances(generated) < self.threshold).double().mean())

    def highest_rate(self, n: int) -> float:
        """Return the copy rate of n images that chance exceeds once in a hundred where none is copied."""
        return highest_copy_rate(n, self.held_out, 0.01)


def highest_copy_rate(n: int, held_out: int, chance: float) -> float:
    """Return the copy rate of n images that chance exceeds with this probability where none is copied.

    Beta-binomial: the share of the held-out law below an order statistic of rank r of m is Beta(r, m + 1 - r).
    """
    rank = 1 + COPY_QUANTILE * (held_out - 1)
    return float(betabinom.isf(chance, n, rank, held_out + 1 - rank)) / n


def nearest_distances(vectors: Tensor, others: Tensor) -> Tensor:
    """Return the Euclidean distance of each vector [k, d] to the nearest of the others [n, d], float32 [k]."""
    return nearest_few(vectors, others)[0][:, 0]


def nearest_few(vectors: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances of each vector [k, d] to the nearest few of the others [n, d], and which they are.

    Both [k, few], the nearest first. Norms and products find the few. Their distances are then computed pair by pair,
    since the former cancel where an image is a copy.
    """
    vectors, others = vectors.float(), others.float()
    centre = others.mean(0)
    squares = (others - centre).square().sum(1)
    rows = max(1, _DISTANCES // max(1, len(others)))
    found = []
    for part in vectors.split(rows):
        apart = squares - 2 * (part - centre) @ (others - centre).T  # less the part's own square
        few = apart.topk(min(_CANDIDATES, len(others)), largest=False).indices
        distances, order = (others[few] - part[:, None]).square().sum(-1).sqrt().sort(1)
        found.append((distances, few.gather(1, order)))
    return torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])


def image_vectors(images: Tensor, flips: bool = False) -> Tensor:
    """Return uint8 images [n, C, H, W] as pixel vectors in [-1, 1], [n, d]; with flips the mirrored too."""
    unit = scale_to_unit(images)
    both = torch.cat([unit, unit.flip(-1)]) if flips else unit
    return both.flatten(1)
