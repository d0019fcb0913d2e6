"""Preparation of a method: its artifact, the jobs of a search, and the context that the engine supplies.

Preparing runs on a worker, before the first image and in no timing. It may take minutes; its price
is a column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

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


@dataclass(frozen=True)
class Training:
    """How a module is trained while a method prepares: AdamW, half a cosine to zero, an average of the weights."""

    steps: int
    """0 leaves the module unchanged."""
    batch: int
    """Rows of a step, over all devices."""
    lr: float
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates of the weights whose names begin so, in place of `lr`."""
    betas: tuple[float, float] = (0.9, 0.99)
    ema: float = 0.98
    """Decay of the average at each step; min(ema, (1 + step) / (10 + step)), so that initial weights fade."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 runs the loss under autocast; weights, moments and average stay float32."""
    remedy: str = "lower its learning rate"
    """What to do where the loss is not finite, as the end of a sentence."""


class TrainedModule(NamedTuple):
    """The averaged state of a trained module by name, and the loss of the last step (NaN after none)."""

    weights: dict[str, Tensor]
    loss: float


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

    def train(
        self,
        module: nn.Module,
        draw: Callable[[torch.Generator], Sequence[Tensor]],
        loss: Callable[..., Tensor],
        training: Training,
    ) -> TrainedModule:
        """Train a module and leave it with its averaged weights.

        On several devices `prepare` runs on each, and each takes an equal share of every batch, so
        the result depends on their number by rounding alone (and by dropout, whose masks differ).
        Killed, `prepare` begins anew: a training that had ended returns at once, the one that was
        going on continues from its last checkpoint, bit by bit.

        `draw` returns tensors of a whole batch on the host, of any numbers of rows; it is called
        once for each step in order, and for those before a checkpoint too. `loss` gets this
        device's rows of each and returns their mean loss; it should keep nothing between calls.
        Where devices do not divide the rows, rows are repeated, so that the mean over devices stays
        that over all. A loss that is no mean over rows takes `mean` of its own means.
        Each of several trainings in a row has its own draws. Raises for a loss that is not finite.
        """

    def mean(self, value: Tensor) -> Tensor:
        """Return a mean over this device's rows as the mean over those of all devices, inside of a training's loss.

        Its gradient is this device's; after averaging over devices it is that of the global mean.
        """

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1 for a loop whose passes do similar work.

        FLOPs are counted on a few of them.
        """

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Report progress, of `total` units of work."""
