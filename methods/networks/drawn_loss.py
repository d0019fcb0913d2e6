"""A training loss with separate random draws, so that processes share one global draw.

Such a network trains on the same batches, noise levels and noise for any number of processes: the
trainer draws for the global batch and gives each process its rows. A network with only `loss`
trains too, but each process then draws for itself, and the result depends on their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class DrawnLoss(Protocol):
    """Random draws, and the loss for given draws. Called by the trainer in every process."""

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Sequence[Tensor]:
        """Return CPU tensors for images of a shape [batch, ...].

        The first axis of each is the batch.
        """

    def loss_of(self, images: Tensor, draws: Any) -> Tensor:
        """Return the mean loss of images [rows, ...] in [-1, 1] for the rows' draws, on the images' device."""
