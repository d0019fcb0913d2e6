"""The training of a network on images: its own loss on batches of flipped images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.specs.train import TrainSettings
from harness.training.batches import Batches
from harness.training.recipe import network_recipe
from harness.training.trainer import State, Trainer
from methods.networks.base import Network
from methods.networks.drawn_loss import DrawnLoss


class NetworkObjective:
    """A network's training loss on this process's rows of every global batch."""

    def __init__(self, network: Network, batches: Batches) -> None:
        self._network, self._batches = network, batches

    def draw(self, step: int) -> tuple[Tensor, Sequence[Tensor], torch.Generator]:
        """Return images, the rows of the draws, and a generator for other draws."""
        return self._batches.draw(step)

    def loss(self, drawn: tuple[Tensor, Sequence[Tensor], torch.Generator]) -> Tensor:
        """Return the mean loss of the rows."""
        images, draws, generator = drawn
        if draws and isinstance(self._network, DrawnLoss):
            return self._network.loss_of(images, draws)
        return self._network.loss(images, generator)


def network_trainer(
    network: Network,
    images: Tensor,
    spec: TrainSettings,
    rank: int = 0,
    world_size: int = 1,
    address: str = "127.0.0.1",
    port: int = 0,
    device: torch.device | str = "cpu",
    state: State | None = None,
    first_step: int = 0,
) -> Trainer:
    """Return one rank's trainer of a network on images [n, channels, height, width], uint8 or in [-1, 1].

    `state` and `first_step` are as a Trainer's. HarnessError if the ranks do not divide the batch.
    """
    if spec.batch % world_size:
        raise HarnessError(f"batch is {spec.batch}; expected a multiple of the {world_size} processes")
    batches = Batches(images, spec, network, rank, world_size, torch.device(device))
    where: dict[str, Any] = {"rank": rank, "world_size": world_size, "address": address, "port": port}
    return Trainer(
        network.train(),
        NetworkObjective(network, batches),
        network_recipe(spec),
        **where,
        device=device,
        state=state,
        first_step=first_step,
    )
