"""What a format's reader returns: one network of another program, in this project's own terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class ImportedNetwork:
    """A network as its family has it, and where it came from."""

    family: str
    """A registered family, or "autoencoder-kl" for a decoder of latents."""
    params: dict[str, Any]
    """The family's parameters, as a card holds them."""
    tensors: dict[str, torch.Tensor]
    """By the family's own names, float32; float64 is kept."""
    channels: int
    """Of the state."""
    resolution: int
    """Of the state, pixels a side."""
    title: str
    origin: dict[str, Any]
    """Format, configuration verbatim, keys that took a default, "weights" ("ema", "raw", "not stated"), licence ..."""
