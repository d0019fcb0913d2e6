"""What a method's preparation works with: what it leaves behind, the jobs of a search, and what the engine lends it.

Preparing runs on a worker, before the first image and in no timing; it may take minutes, and its price is a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from methods.networks.base import Network

if TYPE_CHECKING:
    from methods.parts import BuiltDenoiser, Solver


@dataclass(frozen=True)
class Artifact:
    """What `prepare` leaves behind: tensors by name and plain JSON facts. Stored as safetensors, never pickled.

    Two facts become tables: `history`, what a search tried, and `calibration`, what a method predicts of its own error
    beside the truth (harness/schema.py names their columns).
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


Job = Mapping[str, Any]
"""One piece of a search as plain JSON: what a method needs to do it on any worker. Equal jobs are done once."""


class Done(NamedTuple):
    """A finished job and what doing it left."""

    job: Job
    artifact: Artifact


class Sampled(NamedTuple):
    """Images of a preparation: final states [n, channels, height, width], FLOPs per image, and what ran.

    `units` holds per step how often each unit of the network ran, over all n images.
    """

    images: Tensor
    flops: float
    units: Mapping[int, Mapping[str, int]]


class PrepareContext(Protocol):
    """What a method may use to train, tune or search. The engine supplies it, and counts time and FLOPs."""

    network: Network
    seed: int
    sigma_min: float
    sigma_max: float
    start: Artifact | None
    """What the preparation named by `begins_with` left."""
    done: Sequence[Done]
    """The finished jobs of the method's search, in the order in which it asked for them."""

    @property
    def steps(self) -> int:
        """Return the trial's number of steps; for a method that declares `prepares_for` steps."""

    @property
    def solver(self) -> Solver:
        """Return the trial's solver; for a method that declares `prepares_for` solver."""

    def images(self) -> Tensor:
        """Return the training images, float32 [n, channels, height, width] in [-1, 1]."""

    def noise(self, index: int) -> Tensor:
        """Return the preparation's own unit noise number `index` [channels, height, width]; never a scored image's."""

    def levels(self) -> np.ndarray:
        """Return the trial's noise levels, float64 [steps + 1]; `prepares_for` holds steps and schedule."""

    def prepared(self, part: str) -> Artifact | None:
        """Return what preparing another part of the trial left, None if it left nothing; `prepares_for` names it."""

    def sample(self, denoiser: BuiltDenoiser, indices: range, batch: int) -> Sampled:
        """Return images made by the trial's schedule and solver, serially, from the preparation's own noises.

        `prepares_for` holds steps, schedule and solver.
        """

    def fid(self, images: Tensor) -> float:
        """Return the FID of final states [n, ...] to the reference set, for a method that declares `scores`."""

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1 for a loop whose passes do about the same work; FLOPs are counted on a few of them."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell how far the work has come."""
