"""Preparation of a method: its artifact, the jobs of a search, and the context that the engine supplies.

Preparing runs on a worker, before the first image and in no timing. It may take minutes; its price
is a column.
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
    """Result of `prepare`: tensors by name and plain JSON facts.

    Stored as safetensors, never pickled.

    Two facts become tables: `history`, the candidates of a search, and `calibration`, a method's
    predicted and true errors (harness/schema/details.py has their columns).
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


Job = Mapping[str, Any]
"""One piece of a search as plain JSON, enough to do it on any worker. Equal jobs are done once."""


class Done(NamedTuple):
    """A finished job and its artifact."""

    job: Job
    artifact: Artifact


class Sampled(NamedTuple):
    """Images of a preparation: final states [n, channels, height, width], FLOPs per image, and the units that ran.

    `units` holds by step how often each unit of the network ran, over all n images.
    """

    images: Tensor
    flops: float
    units: Mapping[int, Mapping[str, int]]


class PrepareContext(Protocol):
    """What a method may use to train, tune or search.

    The engine supplies it on a worker, to `do` and `prepare`, and counts time and FLOPs of all
    calls.
    """

    network: Network
    seed: int
    """The number of the training, from 0; all draws and `noise` go by it."""
    sigma_min: float
    sigma_max: float
    base_artifact: Artifact | None
    """Artifact of the method of `begins_with`, None without one."""
    done: Sequence[Done]
    """The finished jobs of the method's search, in the order in which `next_jobs` returned them."""

    @property
    def steps(self) -> int:
        """Return the trial's number of steps; only if `prepares_for` has `steps`."""

    @property
    def solver(self) -> Solver:
        """Return the trial's solver; only if `prepares_for` has `solver`."""

    def images(self) -> Tensor:
        """Return the training images, float32 [n, channels, height, width] in [-1, 1]."""

    def noise(self, index: int) -> Tensor:
        """Return unit noise number `index` of the preparation [channels, height, width], never a scored image's."""

    def levels(self) -> np.ndarray:
        """Return the trial's noise levels, float64 [steps + 1].

        Only if `prepares_for` has `steps` and `schedule`.
        """

    def prepared(self, part: str) -> Artifact | None:
        """Return the artifact of another part of the trial, None without one.

        Only if `prepares_for` has the part.
        """

    def sample(self, denoiser: BuiltDenoiser, indices: range, batch: int) -> Sampled:
        """Return images of the trial's schedule and solver, serially, from the preparation's noises `indices`.

        Only if `prepares_for` has `steps`, `schedule` and `solver`.
        """

    def fid(self, images: Tensor) -> float:
        """Return the FID of final states [n, ...] to the reference set.

        Only if the method `scores`.
        """

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1 for a loop whose passes do similar work.

        FLOPs are counted on a few of them.
        """

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Report progress, of `total` units of work."""
