"""A sampler on a device: four parts, and counts of every call of the network."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.sampling.conditions import BatchClasses, Estimate, batch_classes, given_classes
from harness.sampling.decoder import LatentDecoder
from harness.sampling.noise import ImageNoise
from harness.sampling.numerics import state_dtype
from harness.sampling.pixels import to_uint8
from harness.specs.audits import ImagesWork
from harness.specs.sample import Counts
from harness.specs.sampler import ClassesSpec
from methods.networks.base import Network
from methods.parts import BuiltDenoiser, DenoiserParams, Executor, Peers, Solver, StepNoise, Trace, Units

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions that leave weights in float32 and run the network under autocast."""


@dataclass
class ExecutorStats:
    """What a parallel executor reported, summed over images; empty after a serial one."""

    iterations: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    critical: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    speculative: int = 0
    bytes_sent: int = 0

    def add(self, trace: Trace, passes: Sequence[int]) -> None:
        """Add what the executor reported of one batch; `passes` are the evaluations of a call at each step."""
        if trace.iterations is not None:
            for count in trace.iterations.tolist():
                self.iterations[int(count)] += 1
        if trace.critical is not None:
            for step, evaluations in enumerate(trace.critical.double().sum(0).tolist()):
                self.critical[step] += evaluations * passes[step]
        self.speculative += round(trace.speculative * sum(passes) / len(passes))
        self.bytes_sent += trace.bytes_sent


@dataclass
class CallCounts:
    """Calls of the network by step: evaluations of images, and runs of each of its units, summed over images."""

    evaluations: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    guided: int = 0
    """Those of the evaluations that a guided row has besides its own."""
    units: dict[int, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    network_seconds: float = 0.0
    executor_stats: ExecutorStats = field(default_factory=ExecutorStats)

    def add(self, step: int, rows: int, units: Any) -> None:
        """Count one call of `rows` images; counts that vary by image stay on the device until `to_counts`."""
        self.evaluations[step] += rows
        counts = self.units[step]
        for name, count in units.items():
            ran = rows * count if isinstance(count, int) else count.sum()
            counts[name] = counts.get(name, 0) + ran

    @property
    def requested(self) -> int:
        """Return the rows that executors requested; a guided one is two evaluations."""
        return sum(self.evaluations.values()) - self.guided

    def add_rows(self, steps: Tensor, units: Any) -> None:
        """Count one call whose rows belong to the given steps, int64 [rows] on the host."""
        for step in steps.unique().tolist():
            here = steps == step
            own = {name: n if isinstance(n, int) else n[here.to(n.device)] for name, n in units.items()}
            self.add(step, int(here.sum()), own)

    def total_units(self) -> dict[str, int]:
        """Return how often each unit ran, over all steps and images."""
        total: dict[str, int] = defaultdict(int)
        for counts in self.units.values():
            for name, count in counts.items():
                total[name] += int(count)
        return dict(sorted(total.items()))

    def to_work(self, ranks: int) -> ImagesWork:
        """Return what ran over all steps; one of several ranks sees refinements alone."""
        return ImagesWork(
            evaluations=sum(self.evaluations.values()) if ranks == 1 else None,
            units=self.total_units() if ranks == 1 else {},
            iterations=dict(sorted(self.executor_stats.iterations.items())),
        )

    def to_counts(self) -> Counts:
        """Return plain numbers: evaluations by step, units by step and name, and the executor's statistics."""
        return Counts(
            evaluations={step: int(rows) for step, rows in sorted(self.evaluations.items())},
            units={s: {n: int(c) for n, c in sorted(u.items())} for s, u in sorted(self.units.items())},
            iterations=dict(sorted(self.executor_stats.iterations.items())),
            critical=dict(sorted(self.executor_stats.critical.items())),
            speculative=self.executor_stats.speculative,
            bytes_sent=self.executor_stats.bytes_sent,
        )


class Evaluator:
    """What an executor calls as the network: the denoiser in its precision, counted and clocked.

    The executor calls it in the sampler's process, inside what is timed. It does not wait for the device, so on a GPU
    its seconds are those of launching.
    """

    def __init__(
        self,
        denoiser: BuiltDenoiser,
        call_counts: CallCounts,
        precision: str = "float32",
        factor: float = 1.0,
        network: Network | None = None,
        classes: BatchClasses | None = None,
    ) -> None:
        """Take a denoiser; with `classes` of a batch, it gives the network those of each call's rows."""
        self.denoiser = denoiser
        self.factor = factor
        self.call_counts = call_counts
        self.autocast = AUTOCAST.get(precision)
        self._network, self._classes = network, classes
        self._memory: tuple[Any, ...] = ()

    def init_memory(self, rows: int) -> None:
        """Begin a trajectory of `rows` images."""
        if self.denoiser.has_memory:
            twice = self._classes is not None and self._classes.guidance.guidance != 1
            self._memory = (self.denoiser.init_memory(rows * (1 + twice)),)

    def __call__(self, x: Tensor, sigma: float | Tensor, step: int | Tensor, images: Tensor | None = None) -> Tensor:
        level = sigma if isinstance(sigma, Tensor) else torch.full((x.shape[0],), sigma, dtype=torch.float64)
        if self._classes is None:
            return self._call(x, level, step, None)
        classes = self._classes.of_rows(x.shape[0], images)
        guided = self._classes.is_guided(level).nonzero()[:, 0]
        if len(guided) == 0:
            return self._call(x, level, step, classes)

        # guided rows a second time, without their class, in the same call
        self.call_counts.guided += len(guided)
        rows = guided.to(x.device, non_blocking=True)
        whole = len(guided) == x.shape[0]
        twice = torch.cat([x, x if whole else x[rows]])
        steps = step if isinstance(step, int) else torch.cat([step, step[guided]])
        nothing = classes.new_full((len(guided),), self._classes.nothing)
        both = self._call(twice, torch.cat([level, level[guided]]), steps, torch.cat([classes, nothing]))
        return self._classes.combine(both, x.shape[0], rows)

    def _call(self, x: Tensor, level: Tensor, step: int | Tensor, classes: Tensor | None) -> Tensor:
        """Return the denoiser's estimates of rows with these classes, counted."""
        # a step for all rows, or steps that do not decide what runs: one call
        if isinstance(step, int):
            denoised, units = self._timed_call(x, level, step, classes)
            self.call_counts.add(step, x.shape[0], units)
            return denoised
        if not self.denoiser.by_step:
            denoised, units = self._timed_call(x, level, int(step[0]), classes)
            self.call_counts.add_rows(step, units)
            return denoised

        # steps decide what runs: one call for each
        out = torch.empty_like(x)
        for one in step.unique().tolist():
            here = step == one
            rows = here.nonzero()[:, 0].to(x.device, non_blocking=True)
            out[rows] = self._call(x[rows], level[here], one, None if classes is None else classes[rows])
        return out

    def _timed_call(self, x: Tensor, level: Tensor, step: int, classes: Tensor | None) -> tuple[Tensor, Units]:
        with given_classes(self._network, classes):
            return self._timed(x, level, step)

    def _timed(self, x: Tensor, level: Tensor, step: int) -> tuple[Tensor, Units]:
        start = time.perf_counter()
        if self.autocast is None:
            denoised, units = self.denoiser(x, level, step, *self._memory)
        else:
            with torch.autocast(x.device.type, self.autocast):
                denoised, units = self.denoiser(x, level, step, *self._memory)
            denoised = denoised.to(x.dtype)
        if self.factor != 1.0:
            denoised = denoised * self.factor
        self.call_counts.network_seconds += time.perf_counter() - start
        return denoised, units


_UNGUIDED = DenoiserParams()


class _Whole(BuiltDenoiser):
    """A network as a denoiser whose work is not counted."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        return self.network(x, sigma), {}

    def units(self) -> Mapping[str, Any]:
        return {}


@dataclass
class Sampler:
    """Four built parts and the images they make. States are float64 in precision float64, else float32.

    With `peers` all ranks must make the same calls; `run` then blocks on their messages.
    """

    denoiser: BuiltDenoiser
    sigmas: np.ndarray
    solver: Solver
    executor: Executor
    noise: ImageNoise
    device: torch.device
    precision: str = "float32"
    peers: Peers | None = None
    initial_scale: float | None = None
    """Factor on unit noise at which trajectories begin; None: the highest level."""
    denoises_last: bool = False
    """Whether the network's estimate at the last level is the image."""
    network: Network | None = None
    """The trial's network, which gets the class of each row; needed with `classes`."""
    classes: ClassesSpec | None = None
    guidance: DenoiserParams = _UNGUIDED
    decoder: LatentDecoder | None = None
    """What makes pictures of final states that are latents; ranks above zero make none."""

    @property
    def state_dtype(self) -> torch.dtype:
        """Return the number format of the trajectory."""
        return state_dtype(self.precision)

    def initial_state(self, indices: Sequence[int]) -> Tensor:
        """Return the starting states [len(indices), channels, height, width] on the device: noise times a scale."""
        scale = float(self.sigmas[0]) if self.initial_scale is None else self.initial_scale
        return self.noise.draw_initial(indices).to(self.device, self.state_dtype) * scale

    @torch.inference_mode()
    def run(
        self,
        indices: Sequence[int],
        call_counts: CallCounts | None = None,
        initial_state: Tensor | None = None,
        iterates: list[Tensor] | None = None,
        factor: float = 1.0,
    ) -> Tensor:
        """Return final states [len(indices), channels, height, width] of the images with these global indices.

        A list `iterates` receives the states after each refinement of an iterative executor. `call_counts` grows by
        what ran. With `initial_state` the trajectories begin there. An audit multiplies all estimates by `factor`.
        """
        x = self.initial_state(indices) if initial_state is None else initial_state
        noise = self._step_noise(indices)
        call_counts = CallCounts() if call_counts is None else call_counts
        trace = Trace(peers=self.peers, iterates=iterates)
        classes = self._batch_classes(indices)
        evaluate = Evaluator(self.denoiser, call_counts, self.precision, factor, self.network, classes)
        states = self.executor.run(evaluate, self.solver, self.sigmas, x, noise, trace)
        if self.denoises_last and (self.peers is None or self.peers.rank == 0):
            states = evaluate(states, float(self.sigmas[-1]), self.last_step)
            trace.add_last(self.last_step)
        levels = torch.from_numpy(self.sigmas[:-1])
        passes = [1] * len(levels) if classes is None else (1 + classes.is_guided(levels).long()).tolist()
        call_counts.executor_stats.add(trace, passes)
        return states

    @property
    def last_step(self) -> int:
        """Return the step of the grid as which the estimate at the last level counts."""
        return len(self.sigmas) - 2

    def whole_estimate(self, network: Network, indices: Sequence[int]) -> Estimate:
        """Return D(x; sigma) of a whole network for the states of these images, with their classes and guidance."""
        classes = self._batch_classes(indices)
        if classes is None:
            return network
        evaluate = Evaluator(_Whole(network), CallCounts(), network=network, classes=classes)
        return lambda x, sigma: evaluate(x, sigma, 0)

    def finish(self, estimate: Estimate, states: Tensor) -> Tensor:
        """Return what a network's estimate makes of exact states at the last level [n, ...], as `run` ends."""
        if not self.denoises_last:
            return states
        return estimate(states, torch.full((len(states),), float(self.sigmas[-1]), dtype=torch.float64))

    def _batch_classes(self, indices: Sequence[int]) -> BatchClasses | None:
        if self.classes is None:
            return None
        assert self.network is not None
        return batch_classes(self.classes, self.guidance, self.network, self.noise.seed_set, indices)

    @torch.inference_mode()
    def call_as_in_run(self, index: int, calls: Sequence[Sequence[int]], call_counts: CallCounts) -> None:
        """Call the network as the executor does, once per entry of `calls`: one image, a row at each of its steps."""
        classes = self._batch_classes([index])
        evaluate = Evaluator(self.denoiser, call_counts, self.precision, network=self.network, classes=classes)
        noise = self._step_noise([index])
        x = self.initial_state([index])
        for steps in calls:
            self.executor.call_as_in_run(evaluate, self.solver, self.sigmas, x, steps, noise)

    def _step_noise(self, indices: Sequence[int]) -> StepNoise:
        return lambda step: self.noise.draw_step(indices, step).to(self.device, self.state_dtype)

    def images(self, indices: Sequence[int], call_counts: CallCounts | None = None) -> Tensor:
        """Return finished uint8 images [len(indices), channels, height, width] on the CPU.

        `call_counts` grows by what ran.
        """
        return to_uint8(self.decode(self.run(indices, call_counts))).cpu()

    @torch.inference_mode()
    def decode(self, states: Tensor) -> Tensor:
        """Return the pictures [n, channels, height, width], about in [-1, 1], of final states.

        States that are pictures are returned as they are, and so are those that have not the shape of a state.
        """
        if self.decoder is None or states.shape[1:] != self.noise.shape:
            return states
        return self.decoder(states)
