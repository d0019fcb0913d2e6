"""What a method is given to prepare itself, without an engine: a `methods.parts.PrepareContext` for tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from methods.networks.base import Network


@dataclass
class ToyContext:
    """A network and training images, drawn if none are given; what the method tells is kept in `told`."""

    network: Network
    seed: int = 0
    sigma_min: float = 0.02
    sigma_max: float = 10.0
    steps: int = 4
    clean: Tensor | None = None
    told: list[tuple[int, int, str]] = field(default_factory=list)

    def images(self) -> Tensor:
        """Return the training images; 40 random ones in [-1, 1] by default."""
        if self.clean is not None:
            return self.clean
        generator = torch.Generator().manual_seed(1)
        return torch.rand((40, *self._shape()), generator=generator) * 2 - 1

    def noise(self, index: int) -> Tensor:
        """Return unit noise number `index`."""
        return torch.randn(self._shape(), generator=torch.Generator().manual_seed(1000 + index))

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1."""
        yield from range(n)

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Remember how far the work has come."""
        self.told.append((done, total, note))

    def _shape(self) -> tuple[int, int, int]:
        data = self.network.data
        return data.channels, data.resolution, data.resolution
