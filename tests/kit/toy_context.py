"""What a method is given to prepare itself, without an engine: a `methods.parts.PrepareContext` for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from harness.measure.flops import count_flops
from harness.sampling.call_counts import CallCounts
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from harness.task import Event, Progress
from harness.training.preparation import Trainings
from methods.executors.serial import Serial
from methods.networks.base import Network
from methods.parts import Artifact, BuiltDenoiser, Done, Sampled, Schedule, Solver, TrainedModule, Training
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM


@dataclass
class ToyContext:
    """A network and training images, drawn if none are given; what the method tells is kept in `told`."""

    network: Network
    seed: int = 0
    sigma_min: float = 0.02
    sigma_max: float = 10.0
    steps: int = 4
    clean: Tensor | None = None
    base_artifact: Artifact | None = None
    done: Sequence[Done] = ()
    solver: Solver = field(default_factory=DDIM)
    schedule: Schedule = field(default_factory=EDM)
    others: Mapping[str, Artifact] = field(default_factory=dict)
    """What preparing other parts left."""
    told: list[tuple[int, int, str]] = field(default_factory=list)
    trainings: Trainings | None = None

    def levels(self) -> np.ndarray:
        """Return the schedule's levels, float64 [steps + 1]."""
        return self.schedule.levels(self.steps, self.sigma_min, self.sigma_max, self.prepared("schedule"))

    def prepared(self, part: str) -> Artifact | None:
        """Return what preparing another part left."""
        return self.others.get(part)

    def images(self) -> Tensor:
        """Return the training images; 40 random ones in [-1, 1] by default."""
        if self.clean is not None:
            return self.clean
        generator = torch.Generator().manual_seed(1)
        return torch.rand((40, *self._shape()), generator=generator) * 2 - 1

    def noise(self, index: int) -> Tensor:
        """Return unit noise number `index`."""
        return torch.randn(self._shape(), generator=torch.Generator().manual_seed(1000 + index))

    def sample(self, denoiser: BuiltDenoiser, indices: range, batch: int) -> Sampled:
        """Return images of the solver on the schedule, from `noise`."""
        work, states = CallCounts(), []
        levels = self.levels()
        weight = next(self.network.parameters())
        noise = ImageNoise("toy", 0, self._shape(), preparation=True)
        sampler = Sampler(denoiser, levels, self.solver, Serial(), noise, weight.device)
        for first in range(indices.start, indices.stop, batch):
            states.append(sampler.run(range(first, min(first + batch, indices.stop)), work))
        ran = work.to_counts().units
        x, sigma = sampler.initial_state([0]), torch.full((1,), float(levels[0]), dtype=torch.float64)
        cost = {name: count_flops(call, x, sigma) for name, call in denoiser.units().items()}
        flops = sum(n * cost[name] for units in ran.values() for name, n in units.items())
        return Sampled(torch.cat(states), flops / len(indices), ran)

    def fid(self, images: Tensor) -> float:
        """Return the squared distance of the mean image to that of the training images: a stand-in that can be read."""
        return float((images.mean(0) - self.images().mean(0)).square().sum())

    def train(
        self,
        module: nn.Module,
        draw: Callable[[torch.Generator], Sequence[Tensor]],
        loss: Callable[..., Tensor],
        training: Training,
    ) -> TrainedModule:
        """Train as the engine does; without `trainings` on one device, each as the first of its preparation."""
        device = next(module.parameters()).device
        return (self.trainings or Trainings(self.seed, device, self._tell)).train(module, draw, loss, training)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over all devices, of which there is one without `trainings`."""
        return value if self.trainings is None else self.trainings.mean(value)

    def _tell(self, event: Event) -> None:
        assert isinstance(event, Progress)
        self.progress(event.done, event.total, event.note)

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1."""
        yield from range(n)

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Remember how far the work has come."""
        self.told.append((done, total, note))

    def _shape(self) -> tuple[int, int, int]:
        data = self.network.data
        return data.channels, data.resolution, data.resolution
