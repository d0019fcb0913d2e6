"""Training batches: images, flips and draws of the global batch, a pure function of seed and step.

All is drawn on the CPU for the whole global batch, then cut into the rows of each process. So batches depend neither
on the number of processes nor on interruptions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.sampling.pixels import scale_to_unit
from harness.specs.train import TrainSettings
from harness.training.schedules import batch_seed
from methods.networks.base import Network
from methods.networks.drawn_loss import DrawnLoss


class Batches:
    """The rows of one process of every global batch."""

    def __init__(
        self, images: Tensor, spec: TrainSettings, network: Network, rank: int, world_size: int, device: torch.device
    ) -> None:
        self._images = images.to(device)  # [n, channels, height, width], uint8 or float in [-1, 1]
        self._spec = spec
        self._network = network if isinstance(network, DrawnLoss) else None
        rows = spec.batch // world_size
        self._rows = slice(rank * rows, (rank + 1) * rows)
        self._rank, self._device = rank, device

    def draw(self, step: int) -> tuple[Tensor, Sequence[Tensor], torch.Generator]:
        """Return this process's images, float32 in [-1, 1], its rows of the draws, and a generator for other draws."""
        spec, device = self._spec, self._device
        generator = torch.Generator().manual_seed(batch_seed(spec, step))
        indices = torch.randint(len(self._images), (spec.batch,), generator=generator)[self._rows]
        mirrored = torch.rand(spec.batch, generator=generator)[self._rows] < 0.5 if spec.flips else None

        images = to_unit_floats(self._images[indices.to(device)])
        if mirrored is not None:
            images = torch.where(mirrored.to(device)[:, None, None, None], images.flip(-1), images)

        if self._network is None:
            return images, (), torch.Generator(device).manual_seed(batch_seed(spec, step) * 997 + self._rank)
        draws = self._network.draws((spec.batch, *images.shape[1:]), generator)
        return images, [draw[self._rows].to(device) for draw in draws], generator


def to_unit_floats(images: Tensor) -> Tensor:
    """Return images as float32 in [-1, 1]; uint8 0 to 255 is scaled, floats are kept."""
    return scale_to_unit(images) if images.dtype == torch.uint8 else images.float()
