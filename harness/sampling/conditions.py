"""Inputs of a conditional network besides the state: the class of each row, and guidance towards it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.sampling.classes import draw_classes
from harness.specs.sampler import ClassesSpec
from methods.networks.base import Network
from methods.parts import DenoiserParams

Estimate = Callable[[Tensor, Tensor], Tensor]
"""D(x; sigma) [n, ...] of states [n, ...] at levels [n]."""


@dataclass(frozen=True)
class BatchClasses:
    """The classes of a batch's images, and how far estimates are guided to them."""

    classes: Tensor
    """int64 [batch], on the device."""
    nothing: int
    """What stands for no class."""
    guidance: DenoiserParams
    channels: int | None
    """How many channels are guided, from the first; None: all."""

    def of_rows(self, rows: int, images: Tensor | None) -> Tensor:
        """Return the class of each row, int64 [rows]; ValueError where the rows' images are unknown."""
        if images is not None:
            return self.classes[images.to(self.classes.device, non_blocking=True)]
        times, rest = divmod(rows, len(self.classes))
        if rest:
            raise ValueError(
                f"the network is called with {rows} rows for {len(self.classes)} images of several classes; expected "
                "`images` in that call of evaluate, the place in the batch of each row's image"
            )
        return self.classes if times == 1 else self.classes.repeat(times)

    def is_guided(self, level: Tensor) -> Tensor:
        """Return which levels [rows], on the host, are guided, bool [rows]."""
        if self.guidance.guidance == 1:
            return torch.zeros_like(level, dtype=torch.bool)
        if self.guidance.guidance_interval is None:
            return torch.ones_like(level, dtype=torch.bool)
        low, high = self.guidance.guidance_interval
        return (level >= low) & (level <= high)

    def combine(self, both: Tensor, rows: int, guided: Tensor) -> Tensor:
        """Return guided estimates [rows, ...] from those with the class, followed by those of guided rows without."""
        with_class, without = both[:rows], both[rows:]
        to = with_class if len(guided) == rows else with_class[guided]
        n = self.channels or to.shape[1]
        led = without[:, :n] + self.guidance.guidance * (to[:, :n] - without[:, :n])
        led = torch.cat([led, to[:, n:]], dim=1)
        if len(guided) == rows:
            return led
        out = with_class.clone()
        out[guided] = led
        return out


@contextmanager
def given_classes(network: Network | None, classes: Tensor | None) -> Iterator[None]:
    """Give the rows of the calls inside these classes, and none afterwards."""
    if network is None or classes is None:
        yield
        return
    network.row_classes = classes
    try:
        yield
    finally:
        network.row_classes = None


@contextmanager
def any_class(network: Network, rows: int) -> Iterator[None]:
    """Give calls of so many rows some class, where only the work counts that they take."""
    count = network.params.class_count
    classes = torch.zeros(rows, dtype=torch.int64, device=_device_of(network)) if count else None
    with given_classes(network, classes):
        yield


def batch_classes(
    spec: ClassesSpec | None, guidance: DenoiserParams, network: Network, seed_set: int, indices: Sequence[int]
) -> BatchClasses | None:
    """Return the classes of a batch of images; None where no image has one."""
    if spec is None:
        return None
    drawn = torch.from_numpy(draw_classes(spec, seed_set, indices)).to(_device_of(network))
    channels = guidance.guided_channels or network.params.usual_guided_channels
    return BatchClasses(drawn, network.params.class_count, guidance, channels)


def _device_of(network: Network) -> torch.device:
    return next((one.device for one in (*network.parameters(), *network.buffers())), torch.device("cpu"))
