"""The interfaces of a sampler's four parts. To write a method this file is enough.

The denoiser decides how much of the network runs, the schedule which noise levels are visited, the
solver how one step is taken, the executor in which order and on which devices. A method is one
class in one file that replaces one part. Coordinates are EDM's (Karras et al. 2022,
arXiv:2206.00364): a state x at noise level sigma is clean data plus sigma times unit Gaussian
noise. Grids are explicit, float64, strictly decreasing. The network returns D(x; sigma), an
estimate of the clean data. Methods have no access to files, timing, seeds or Ray.

| part     | must                         | may                                                                        |
|----------|------------------------------|----------------------------------------------------------------------------|
| every    | name, summary, part's calls  | Params, families, refusal, fixed_work, search, prepare (methods.preparing),|
|          |                              | method_family and claim, which reports print                               |
| Schedule | levels                       |                                                                            |
| Solver   | order, step                  | init_memory, multistep, stochastic, evaluations_per_step                   |
| Denoiser | build (a BuiltDenoiser)      | has_memory, own_flow                                                       |
| Executor | run                          | parallel, device_group, a model of its time (see `methods.replay`)         |

A prepared artifact is `self.artifact` on every worker; schedules and denoisers get it as an
argument too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from methods.method import Method, Params
from methods.networks.base import Network, NetworkParams
from methods.peers import Peers
from methods.preparing import Artifact, Done, Job, PrepareContext, Sampled, TrainedModule, Training
from methods.replay import ReplayedTime

__all__ = [
    "PARTS", "Artifact", "Boundary", "BuiltDenoiser", "Denoise", "Denoiser", "DenoiserParams", "Done", "Evaluate",
    "Executor", "Job", "Method", "Params", "Peers", "PrepareContext", "ReplayedTime", "Sampled", "Schedule",
    "ScheduleParams", "Solver", "StepNoise", "Trace", "TrainedModule", "Training", "Units", "unit_counts",
]  # fmt: skip

PARTS = ("denoiser", "schedule", "solver", "executor")

Denoise = Callable[[Tensor, float], Tensor]
"""D(x; sigma) as a solver sees it: state [batch, channels, height, width] and one noise level."""

StepNoise = Callable[[int], Tensor]
"""Unit Gaussian noise of a step, of the state's shape; the same for an image in any batch."""

Units = Mapping[str, "int | Tensor"]
"""How often each separately counted unit of a network ran: one int for all images, or one per image [batch]."""


class ScheduleParams(Params):
    """Parameters that every schedule should have; its own class of parameters derives from them."""

    final: Literal["none", "denoise"] = "none"
    """denoise: the last estimate, D at the last level, is the image; it is Euler's step from there to level 0.

    Published samplers end so. It is one evaluation more, which counts. With none the last level's
    noise stays in the image.
    """


class Schedule(Method):
    """Which noise levels are visited."""

    part = "schedule"
    method_family = "schedule"
    sampling_params = tuple(ScheduleParams.model_fields)
    Params = ScheduleParams
    own_ends: ClassVar[bool] = False
    """Whether its ends are its own, inside of the range that it is asked for. Such a one is not prepared."""

    @property
    def denoises_last(self) -> bool:
        """Return whether one more estimate follows the last level; see `ScheduleParams.final`."""
        return getattr(self.params, "final", "none") == "denoise"

    def initial_scale(self, levels: np.ndarray) -> float:
        """Return the factor on unit noise at which a trajectory begins; here its first level."""
        return float(levels[0])

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        """Return True: there are as many levels as steps. Denoisers that go by the level look at `parts`."""
        return True

    @abstractmethod
    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        """Return float64 levels [steps + 1], strictly decreasing, first sigma_max and last sigma_min exactly.

        With `own_ends` they may begin below sigma_max and end above sigma_min.

        Raises ValueError for a range or number of steps that the schedule cannot have. Called on
        every worker once for a sampler, before anything is timed.
        """


class Solver(Method):
    """How one step is taken along the grid, given denoised estimates."""

    part = "solver"
    method_family = "solver"
    order: ClassVar[int]
    """Order of convergence in the largest step."""
    stochastic: ClassVar[bool] = False
    evaluations_per_step: ClassVar[int] = 1
    """Network evaluations of one step; the real ones are counted separately."""
    multistep: ClassVar[bool] = False
    """Whether a step reads outputs of earlier steps."""

    def init_memory(self, artifact: Artifact | None) -> Any:
        """Return the memory of a new trajectory (past outputs of a multistep solver), or None.

        Called by executors as `solver.init_memory(solver.artifact)`, inside what is timed, once
        for every trajectory and again where one restarts.
        """
        return None

    @abstractmethod
    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        """Return the state at sigmas[i + 1] from the state x at sigmas[i].

        May read and update `memory`.

        Called by executors, inside what is timed; it should not wait for the device. x is [batch,
        channels, height, width]. `denoise` may be called any number of times.
        """


class Evaluate(Protocol):
    """The network as an executor calls it, on a worker and inside what is timed.

    All calls are counted.
    """

    def __call__(self, x: Tensor, sigma: float | Tensor, step: int | Tensor, images: Tensor | None = None) -> Tensor:
        """Return D(x; sigma) at the grid's step `step`.

        Level and step are one for all, or one per row [rows].

        Per row, levels are float64 and steps int64, both on the host. `images` are the places in
        the batch of the images that the rows are states of, int64 [rows], for images of several
        classes; without it they are the batch's in order, once or several times.
        """


class Boundary(Evaluate, Protocol):
    """The network as `Executor.run` gets it, with the memory of its denoiser."""

    def init_memory(self, rows: int) -> None:
        """Begin a trajectory of so many rows: a denoiser with memory gets a new one."""


class BuiltDenoiser(ABC):
    """A denoiser ready to run: a network and the rule by which a part of it runs.

    Used on workers.
    """

    by_step: ClassVar[bool] = False
    """Whether the step decides what runs; rows of different steps then get separate calls."""

    has_memory: ClassVar[bool] = False
    """Whether it remembers earlier calls of a trajectory.

    Its memory is then the fourth argument of a call.
    """

    def init_memory(self, rows: int) -> Any:
        """Return the memory of a new trajectory of so many rows; only where `has_memory`.

        It can count calls but not steps: a solver such as Heun's calls twice a step.
        """
        return None

    @abstractmethod
    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        """Return D(x; sigma), sigma float64 [batch] on the host, and which units of the network ran for it.

        Called by the `Evaluate` of an executor, inside what is timed.
        """

    @abstractmethod
    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        """Return, for each unit, a call on (x [1, ...], sigma [1]) that runs it once.

        Its FLOPs are counted, untimed.
        """


class DenoiserParams(Params):
    """Parameters that every denoiser should have; its own class of parameters derives from them."""

    guidance: float = Field(default=1.0, ge=0)
    """Scale w of classifier-free guidance, D(no class) + w (D(class) - D(no class)).

    Ho & Salimans 2022 (arXiv:2207.12598). Each guided evaluation is two, in one call, and counts
    as two; 1 is the class alone.
    """
    guidance_interval: tuple[float, float] | None = None
    """Lowest and highest level that are guided (Kynkäänniemi et al. 2024, arXiv:2404.07724); without it all."""
    guided_channels: int | None = Field(default=None, ge=1)
    """How many channels are guided, from the first; without it as many as the network's authors guide."""

    @model_validator(mode="after")
    def _guides_where_it_says(self) -> DenoiserParams:
        if self.guidance == 1 and (self.guidance_interval or self.guided_channels):
            raise ValueError("guidance_interval and guided_channels are read with a guidance other than 1 alone")
        if self.guidance_interval and not 0 <= self.guidance_interval[0] < self.guidance_interval[1]:
            raise ValueError(f"guidance_interval is {list(self.guidance_interval)}; expected a level and a higher one")
        return self


class Denoiser(Method):
    """How much of the network runs at a step, for an image."""

    part = "denoiser"
    sampling_params = tuple(DenoiserParams.model_fields)
    Params = DenoiserParams
    has_memory: ClassVar[bool] = False
    """Whether the built denoiser remembers earlier calls of a trajectory.

    Parallel executors are then refused.
    """
    own_flow: ClassVar[bool] = False
    """Whether preparing makes another network, whose output depends on state and level alone: it has its own flow."""

    @property
    def guidance(self) -> DenoiserParams:
        """Return how far its estimates are led from no class to the class."""
        given = self.params.model_dump()
        return DenoiserParams(**{name: given[name] for name in DenoiserParams.model_fields if name in given})

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        """Return whether neither it nor the schedule is prepared, and the network does equal work for all inputs."""
        return not self.prepares and not parts["schedule"].prepares and network.fixed_cost

    @abstractmethod
    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        """Return the denoiser of a trained network (in eval mode) and the artifact of `prepare`.

        Untimed.
        """


@dataclass
class Trace:
    """An executor's own statistics of one batch, and its peers.

    Calls of the network are counted elsewhere.
    """

    peers: Peers | None = None
    """None on one device."""
    iterations: Tensor | None = None
    """Refinements until each sample stopped, int64 [batch]."""
    critical: Tensor | None = None
    """Evaluations on the longest chain of dependent ones, per sample and step of the grid, float64 [batch, steps]."""
    speculative: int = 0
    """Image-evaluations on this rank that no result used."""
    bytes_sent: int = 0
    """Bytes that this rank sent to others."""
    iterates: list[Tensor] | None = None
    """If a list, it gets the estimated final states before the first refinement and after each, [batch, ...].

    A stopped sample keeps its state. The same on every rank.
    """

    def add_last(self, step: int) -> None:
        """Add the evaluation that follows the executor's, which counts as one of this step."""
        if self.critical is not None:
            self.critical[:, step] += 1


class Executor(Method, ReplayedTime):
    """In which order, and on which devices, the steps run."""

    part = "executor"
    method_family = "parallel in time"
    parallel: ClassVar[bool] = False
    """Whether evaluations of one sample overlap, so that its critical path is shorter than its total work."""

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        """Return whether it is not parallel: refinements until a tolerance depend on the weights."""
        return not self.parallel and not self.prepares

    @abstractmethod
    def run(
        self, evaluate: Boundary, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        """Return the state at sigmas[-1] from the one at sigmas[0], x [batch, channels, height, width].

        A parallel executor fills `trace`. With several devices every rank of `trace.peers` runs
        this with the same arguments, and every rank returns the same state; ranks may wait for
        each other. Called on workers, inside what is timed. A serial executor calls
        `evaluate.init_memory` where it calls the solver's.
        """


def unit_counts(units: Units, rows: int) -> dict[str, Tensor]:
    """Return how often each unit ran for each row, int64 [rows] on the host."""
    return {
        name: torch.full((rows,), count, dtype=torch.int64) if isinstance(count, int) else count.to("cpu", torch.int64)
        for name, count in units.items()
    }
