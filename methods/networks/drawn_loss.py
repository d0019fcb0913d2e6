"""A training loss with its chance taken out, so that processes can share one global draw.

A network that offers this trains on the same batches, noise levels and noise whatever the number of processes: the
trainer draws for the global batch and hands each process its rows. A network with only `loss` still trains; each
process then draws for itself, and the result depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class DrawnLoss(Protocol):
    """What chance decides, and the loss given that."""

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Sequence[Tensor]:
        """Return CPU tensors for images of a shape [batch, ...]; the first axis of each is the batch."""

    def loss_of(self, images: Tensor, draws: Any) -> Tensor:
        """Return the mean loss of images [rows, ...] in [-1, 1] for the rows' draws, on the images' device."""
