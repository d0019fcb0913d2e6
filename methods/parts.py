"""The four parts of a sampler, as interfaces, and the class that every method is.

A sampler answers four questions: how much of the network runs (denoiser), which noise levels are visited
(schedule), how one step is taken (solver), in which order and where (executor). A method is one class in one
file that replaces one part. Coordinates are EDM's (Karras et al. 2022): a state x at noise level sigma is
clean data plus sigma times unit Gaussian noise; grids are explicit, float64, strictly decreasing; the network
answers D(x; sigma), an estimate of the clean data. No method knows about files, timing, seeds or Ray.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from methods.networks.base import Network, NetworkParams

PARTS = ("denoiser", "schedule", "solver", "executor")

Denoise = Callable[[Tensor, float], Tensor]
"""D(x; sigma) as a solver sees it: state [batch, channels, height, width] and one noise level."""

StepNoise = Callable[[int], Tensor]
"""Unit Gaussian noise of a step, of the state's shape; the same per image whatever the batch."""

Units = Mapping[str, "int | Tensor"]
"""How often each separately counted unit of a network ran: one int for all images, or one per image [batch]."""


class Params(BaseModel):
    """Parameters of a method: typed, validated, and closed, so that a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Method(ABC):
    """One method: its name, its part, its parameters, what it fits and needs. Found by the registry by being there."""

    part: ClassVar[str]
    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `ls methods`: what it is and whose (author year)."""
    families: ClassVar[tuple[str, ...]] = ("*",)
    """Network families it fits; `*` is any."""
    prepares: bool = False
    """Whether `prepare` has work to do before the first image; may depend on the parameters."""
    prepares_for: tuple[str, ...] = ()
    """What of a trial the preparation depends on, of `steps`, `schedule` and `solver`; trials equal in it share it."""
    sampling_only: tuple[str, ...] = ()
    """Parameters that the preparation does not depend on; methods that differ in nothing else share it."""
    scores: bool = False
    """Whether the preparation measures FID, and so depends on the feature network and the reference set."""
    jobs_for: tuple[str, ...] | None = None
    """What of a trial the search's jobs depend on; as `prepares_for` if None, else they measure no FID either."""
    search_only: tuple[str, ...] = ()
    """Parameters that decide which jobs a search asks for, but not what a job gives; searches share equal jobs."""
    Params: ClassVar[type[Params]] = Params

    def __init__(self, **params: Any) -> None:
        self.params: Any = self.Params(**params)

    def device_group(self) -> int:
        """Return how many devices one sample needs at once."""
        return 1

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        """Return why this method cannot stand in the given combination, on a network of this size; None if it can."""
        return None

    def begins_with(self) -> Method | None:
        """Return the method of the same part whose artifact this one's preparation starts from, if any."""
        return None

    def next_jobs(self, steps: int, network: NetworkParams, done: Sequence[Done]) -> Sequence[Job]:
        """Return what a search asks for next, given the facts of what it has; nothing when `prepare` can conclude.

        A pure function of its arguments: it runs in the driver and is asked again after a restart. The jobs of one
        answer run side by side, on any workers.
        """
        return ()

    def do(self, context: PrepareContext, job: Job) -> Artifact:
        """Do one job of the search."""
        raise NotImplementedError(f'method "{self.name}" asks for jobs that it cannot do')

    def prepare(self, context: PrepareContext) -> Artifact:
        """Train, tune or conclude the search; called only where `prepares` is true, after the last job is done."""
        return Artifact()


class Schedule(Method):
    """Which noise levels are visited."""

    part = "schedule"

    @abstractmethod
    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        """Return float64 levels [steps + 1], strictly decreasing, first sigma_max and last sigma_min exactly."""


class Solver(Method):
    """How one step is taken along the grid, given denoised estimates."""

    part = "solver"
    order: ClassVar[int]
    """Order of convergence in the largest step."""
    stochastic: ClassVar[bool] = False
    evaluations_per_step: ClassVar[int] = 1
    """Network evaluations of one step; what really ran is counted all the same."""
    multistep: ClassVar[bool] = False
    """Whether a step reads outputs of earlier steps."""

    def start(self) -> Any:
        """Return the memory of a new trajectory (past outputs of a multistep solver), or None."""
        return None

    @abstractmethod
    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        """Return the state at sigmas[i + 1] from the state x at sigmas[i]; may read and update `memory`."""


class Peers(Protocol):
    """The devices that make one batch together, one rank each; what is sent stays unchanged until it has arrived."""

    rank: int
    size: int
    bytes_sent: int
    """Bytes of states that this rank has sent to others."""

    def send(self, state: Tensor, to: int, tag: int) -> None:
        """Send a state to a rank without waiting; to itself is free."""

    def expect(self, like: Tensor, source: int, tag: int) -> None:
        """Say that the next `receive` from a rank will be this one, so that the state can come while this rank works.

        What is not received by the end of the batch is dropped there, sent or not.
        """

    def receive(self, like: Tensor, source: int, tag: int) -> Tensor:
        """Wait for the state with this tag from a rank; it has the shape, dtype and device of `like`."""

    def flush(self) -> None:
        """Wait until the others have taken what was sent to them, which they do sooner while this rank waits."""

    def share(self, state: Tensor, source: int) -> Tensor:
        """Return the state that rank `source` holds, on every rank; all must call."""

    def halt(self) -> None:
        """Tell all ranks, without waiting, that nothing further of this batch is wanted."""

    def halted(self) -> bool:
        """Return whether a rank has called `halt` since the last `settle`; does not wait for anyone."""

    def settle(self, like: Tensor) -> None:
        """End a batch: drop what was sent here and not received, let go of what was sent; all must call."""


@dataclass
class Trace:
    """What an executor tells of one batch beyond what is counted at the network's boundary, and whom it works with."""

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
    """A list asks for the final state as estimated before the first refinement and after each one, [batch, ...] each.

    A sample that has stopped keeps its state. The same on every rank.
    """


class Executor(Method):
    """In which order, and on which devices, the steps run."""

    part = "executor"
    parallel: ClassVar[bool] = False
    """Whether evaluations of one sample overlap, so that its critical path is shorter than its total work."""

    @abstractmethod
    def run(
        self, evaluate: Evaluate, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        """Return the state at sigmas[-1] from x = sigmas[0] * unit noise [batch, channels, height, width].

        Where evaluations of a sample overlap, `trace` is told what follows from it. With several devices every rank of
        `trace.peers` runs this with the same arguments, and every rank returns the same state.
        """

    def device_counts(self, sigmas: np.ndarray) -> tuple[int, ...]:
        """Return the numbers of devices to replay, ascending, its own among them; none if it has no model of time."""
        return ()

    def rehearse(
        self,
        evaluate: Evaluate,
        solver: Solver,
        sigmas: np.ndarray,
        x: Tensor,
        steps: Sequence[int],
        noise: StepNoise,
    ) -> None:
        """Call the network as `run` does with a state at each of these steps of the grid, for a model of time.

        x is one image's state [1, channels, height, width]; what comes out is of no use.
        """
        raise NotImplementedError(f'executor "{self.name}" has no model of its time')

    def replayed(
        self,
        solver: Solver,
        sigmas: np.ndarray,
        iterations: int,
        devices: int,
        call_seconds: Callable[[Sequence[int]], float],
        hop_seconds: float,
        rows: int = 1,
    ) -> float:
        """Return virtual seconds: what one batch of `rows` images would take, by the executor's model of time.

        Each image takes `iterations` refinements, on `devices` devices; a call of the network with a row at each of
        some steps takes `call_seconds(steps)`, and a state from one device to another `hop_seconds`.
        """
        raise NotImplementedError(f'executor "{self.name}" has no model of its time')


class Evaluate(Protocol):
    """The network's boundary as an executor sees it; everything that passes is counted."""

    def __call__(self, x: Tensor, sigma: float | Tensor, step: int | Tensor) -> Tensor:
        """Return D(x; sigma) at the grid's step `step`; level and step are one for all, or one per row [rows].

        Per row, levels are float64 and steps int64, both on the host.
        """


class BuiltDenoiser(ABC):
    """A denoiser ready to run: a network and the rule of how much of it runs."""

    by_step: ClassVar[bool] = False
    """Whether the step decides what runs; rows of different steps are then called apart."""

    @abstractmethod
    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        """Return D(x; sigma), sigma float64 [batch] on the host, and which units of the network ran for it."""

    @abstractmethod
    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        """Return, for each unit, a call on (x [1, ...], sigma [1]) that runs that unit once, to be counted."""


class Denoiser(Method):
    """How much of the network runs at a step, for an image."""

    part = "denoiser"
    own_flow: ClassVar[bool] = False
    """Whether preparing makes another network, which answers by state and level alone: it has a flow of its own."""

    @abstractmethod
    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        """Return the denoiser over a trained network (in eval mode) and what `prepare` left."""


def unit_counts(units: Units, rows: int) -> dict[str, Tensor]:
    """Return how often each unit ran for each row, int64 [rows], from the short form."""
    return {
        name: torch.full((rows,), count, dtype=torch.int64) if isinstance(count, int) else count.to("cpu", torch.int64)
        for name, count in units.items()
    }
