"""One sampler at work: four parts on a device, with everything that passes the network's boundary counted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.sampling.noise import ImageNoise
from harness.sampling.numerics import state_dtype
from harness.sampling.pixels import to_uint8
from harness.specs.sample import Counts
from methods.parts import BuiltDenoiser, Executor, Peers, Solver, StepNoise, Trace, Units

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions that leave weights in float32 and run the network under autocast."""


@dataclass
class Traced:
    """What a parallel executor told, summed over images; empty after a serial one."""

    iterations: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    critical: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    speculative: int = 0
    bytes_sent: int = 0

    def add(self, trace: Trace) -> None:
        """Add what one batch left."""
        if trace.iterations is not None:
            for count in trace.iterations.tolist():
                self.iterations[int(count)] += 1
        if trace.critical is not None:
            for step, evaluations in enumerate(trace.critical.double().sum(0).tolist()):
                self.critical[step] += evaluations
        self.speculative += trace.speculative
        self.bytes_sent += trace.bytes_sent


@dataclass
class Work:
    """What ran, per step: image-evaluations, and how often each unit of the network ran, summed over the images."""

    evaluations: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    units: dict[int, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    network_seconds: float = 0.0
    traced: Traced = field(default_factory=Traced)

    def add(self, step: int, rows: int, units: Any) -> None:
        """Count one call of `rows` images; per-image counts stay on the device until `counts`."""
        self.evaluations[step] += rows
        counts = self.units[step]
        for name, count in units.items():
            ran = rows * count if isinstance(count, int) else count.sum()
            counts[name] = counts.get(name, 0) + ran

    def add_rows(self, steps: Tensor, units: Any) -> None:
        """Count one call whose rows belong to the given steps, int64 [rows] on the host."""
        for step in steps.unique().tolist():
            here = steps == step
            own = {name: n if isinstance(n, int) else n[here.to(n.device)] for name, n in units.items()}
            self.add(step, int(here.sum()), own)

    def counts(self) -> Counts:
        """Return plain numbers: evaluations by step, units by step and name, and what executors told."""
        return Counts(
            evaluations={step: int(rows) for step, rows in sorted(self.evaluations.items())},
            units={s: {n: int(c) for n, c in sorted(u.items())} for s, u in sorted(self.units.items())},
            iterations=dict(sorted(self.traced.iterations.items())),
            critical=dict(sorted(self.traced.critical.items())),
            speculative=self.traced.speculative,
            bytes_sent=self.traced.bytes_sent,
        )


class Evaluator:
    """The network's boundary: calls the denoiser in its precision, counts what ran and clocks the call."""

    def __init__(self, denoiser: BuiltDenoiser, work: Work, precision: str = "float32") -> None:
        self.denoiser = denoiser
        self.work = work
        self.autocast = AUTOCAST.get(precision)
        self._memory: tuple[Any, ...] = ()

    def init_memory(self, rows: int) -> None:
        """Begin a trajectory of so many rows."""
        if self.denoiser.has_memory:
            self._memory = (self.denoiser.init_memory(rows),)

    def __call__(self, x: Tensor, sigma: float | Tensor, step: int | Tensor) -> Tensor:
        level = sigma if isinstance(sigma, Tensor) else torch.full((x.shape[0],), sigma, dtype=torch.float64)
        if isinstance(step, int):
            denoised, units = self._timed(x, level, step)
            self.work.add(step, x.shape[0], units)
            return denoised
        if not self.denoiser.by_step:
            denoised, units = self._timed(x, level, int(step[0]))
            self.work.add_rows(step, units)
            return denoised
        out = torch.empty_like(x)
        for one in step.unique().tolist():
            here = step == one
            rows = here.nonzero()[:, 0].to(x.device, non_blocking=True)
            out[rows] = self(x[rows], level[here], one)
        return out

    def _timed(self, x: Tensor, level: Tensor, step: int) -> tuple[Tensor, Units]:
        start = time.perf_counter()
        if self.autocast is None:
            denoised, units = self.denoiser(x, level, step, *self._memory)
        else:
            with torch.autocast(x.device.type, self.autocast):
                denoised, units = self.denoiser(x, level, step, *self._memory)
            denoised = denoised.to(x.dtype)
        self.work.network_seconds += time.perf_counter() - start
        return denoised, units


@dataclass
class Sampler:
    """Four built parts and the images they make. States are float64 in precision float64, else float32."""

    denoiser: BuiltDenoiser
    sigmas: np.ndarray
    solver: Solver
    executor: Executor
    noise: ImageNoise
    device: torch.device
    precision: str = "float32"
    peers: Peers | None = None

    @property
    def state(self) -> torch.dtype:
        """Return the number format of the trajectory."""
        return state_dtype(self.precision)

    def start(self, indices: Sequence[int]) -> Tensor:
        """Return the starting states sigma_max * noise [len(indices), channels, height, width] on the device."""
        return self.noise.initial(indices).to(self.device, self.state) * float(self.sigmas[0])

    @torch.inference_mode()
    def run(
        self,
        indices: Sequence[int],
        work: Work | None = None,
        start: Tensor | None = None,
        iterates: list[Tensor] | None = None,
    ) -> Tensor:
        """Return final states [len(indices), channels, height, width] of the images with these global indices.

        A list `iterates` is filled with what an iterative executor had for them after each refinement.
        """
        x = self.start(indices) if start is None else start
        noise = self._step_noise(indices)
        work = Work() if work is None else work
        trace = Trace(peers=self.peers, iterates=iterates)
        evaluate = Evaluator(self.denoiser, work, self.precision)
        states = self.executor.run(evaluate, self.solver, self.sigmas, x, noise, trace)
        work.traced.add(trace)
        return states

    @torch.inference_mode()
    def call_as_in_run(self, index: int, calls: Sequence[Sequence[int]], work: Work) -> None:
        """Call the network as the executor does, each time with a state of one image at every one of these steps."""
        evaluate = Evaluator(self.denoiser, work, self.precision)
        noise = self._step_noise([index])
        start = self.start([index])
        for steps in calls:
            self.executor.call_as_in_run(evaluate, self.solver, self.sigmas, start, steps, noise)

    def _step_noise(self, indices: Sequence[int]) -> StepNoise:
        return lambda step: self.noise.of_step(indices, step).to(self.device, self.state)

    def images(self, indices: Sequence[int]) -> Tensor:
        """Return finished uint8 images [len(indices), channels, height, width] on the CPU: noise in, picture out."""
        return to_uint8(self.run(indices)).cpu()
