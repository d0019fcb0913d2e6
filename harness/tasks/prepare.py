"""Prepare: let a method train, tune or search what it needs, with its time and its FLOPs counted.

A search spreads over the workers as jobs, which are done here too; the preparation that concludes it pays for them.
Counting slows small operators down several times, so of a long loop only a few passes are counted and stand for all.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.errors import HarnessError, UsageError
from harness.measure.flops import count_flops, flop_counter
from harness.registry import registry
from harness.sampling.build import (
    artifact_of,
    as_artifact,
    image_shape,
    load_network,
    make_executor,
    make_schedule,
    make_solver,
)
from harness.sampling.noise import ImageNoise
from harness.sampling.pixels import to_unit
from harness.sampling.place import Place
from harness.sampling.sampler import Sampler, Work
from harness.specs.base import Price
from harness.specs.prepare import PrepareOutput, PrepareSpec
from harness.specs.rules.counting import COUNTED_PASSES
from harness.specs.sampler import PartSpec
from harness.task import IMAGES, Event, Progress, Result
from methods.parts import Artifact, BuiltDenoiser, Done, Method, Sampled, Solver


class Context:
    """What `methods.parts.PrepareContext` promises, for one preparation or one job of it."""

    def __init__(self, spec: PrepareSpec, inputs: Mapping[str, Any], place: Place, method: Method) -> None:
        data = spec.model.data
        self.network = load_network(spec.model, inputs, place)
        self.seed = spec.seed
        self.sigma_min, self.sigma_max = data.sigma_min, data.sigma_max
        self.base_artifact: Artifact | None = artifact_of(inputs, spec.start)
        finished = [(job.job, inputs[job.id]) for job in spec.done]
        self.done: Sequence[Done] = [Done(job, as_artifact(result)) for job, result in finished]
        before = [result.output.price for _, result in finished]
        before += [] if spec.start is None else [inputs[spec.start].output.price]
        self.flops = float(sum(price.flops for price in before))
        self.seconds_before = float(sum(price.seconds for price in before))
        self.events: queue.Queue[Event | None] = queue.Queue()
        self._method, self._spec, self._inputs, self._place = method, spec, inputs, place
        self._noise = ImageNoise(data.name, 0, image_shape(data), preparation=True)
        self._counter: FlopCounterMode | None = None

    @property
    def steps(self) -> int:
        """Return the trial's number of steps."""
        if self._spec.steps is None:
            raise self._undeclared("steps")
        return self._spec.steps

    @property
    def solver(self) -> Solver:
        """Return the trial's solver."""
        return make_solver(self._part("solver"), self._inputs)

    def images(self) -> Tensor:
        """Return the training images, float32 [n, channels, height, width] in [-1, 1]."""
        return to_unit(self._inputs[IMAGES])

    def noise(self, index: int) -> Tensor:
        """Return the preparation's own unit noise number `index`."""
        return self._noise.initial([index])[0]

    def levels(self) -> np.ndarray:
        """Return the trial's noise levels, float64 [steps + 1]."""
        steps, schedule = self.steps, make_schedule(self._part("schedule"))
        return schedule.levels(steps, self.sigma_min, self.sigma_max, self.prepared("schedule"))

    def prepared(self, part: str) -> Artifact | None:
        """Return what preparing another part of the trial left, None if it left nothing."""
        return artifact_of(self._inputs, self._part(part).artifact)

    def sample(self, denoiser: BuiltDenoiser, indices: range, batch: int) -> Sampled:
        """Return images of these indices of the preparation's noises; their FLOPs are those of the units that ran."""
        counting = self._counter is not None
        self.count(False)
        sampler = Sampler(
            denoiser=denoiser,
            sigmas=self.levels(),
            solver=self.solver,
            executor=make_executor(self._spec.serial, self._inputs),
            noise=self._noise,
            device=self._place.device,
            precision=self._spec.model.precision,
        )
        work, states = Work(), []
        for first in range(indices.start, indices.stop, batch):
            states.append(sampler.run(range(first, min(first + batch, indices.stop)), work))
            self.progress(min(first + batch, indices.stop) - indices.start, len(indices), "images")
        ran = work.counts().units
        x = sampler.start([indices.start])
        sigma = torch.full((1,), float(sampler.sigmas[0]), dtype=torch.float64)
        names = {name for units in ran.values() for name in units}
        cost = {name: count_flops(call, x, sigma) for name, call in denoiser.units().items() if name in names}
        flops = float(sum(count * cost[name] for units in ran.values() for name, count in units.items()))
        self.flops += flops
        self.count(counting)
        return Sampled(torch.cat(states), flops / len(indices), ran)

    def fid(self, images: Tensor) -> float:
        """Refuse: a method that measures FID declares it, and gets a context that does."""
        raise HarnessError(f'method "{self._method.name}" measures FID but does not declare `scores`')

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1, counting some passes, spread evenly; the others are taken to cost their mean."""
        self.count(False)
        counted = {n * k // COUNTED_PASSES for k in range(COUNTED_PASSES)}
        before = self.flops
        for i in range(n):
            self.count(i in counted)
            yield i
        self.count(False)
        self.flops = before + (self.flops - before) * n / max(len(counted), 1)
        self.count(True)

    def count(self, on: bool) -> None:
        """Count from now on, or stop and add up; torch counts per thread, so call it in the thread that works."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self.flops += self._counter.get_total_flops()
            self._counter = None
        if on:
            self._counter = flop_counter()
            self._counter.__enter__()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell how far the work has come."""
        self.events.put(Progress(done, total, note))

    def _part(self, part: str) -> PartSpec:
        """Return another part of the trial, or refuse what the method did not declare: trials that differ in it share
        this preparation.
        """
        found: PartSpec | None = {"schedule": self._spec.schedule, "solver": self._spec.solver}.get(part)
        if found is None:
            raise self._undeclared(part)
        return found

    def _undeclared(self, what: str) -> UsageError:
        method, of_job = self._method, self._spec.job is not None and self._method.jobs_for is not None
        where, declared = ("jobs_for", method.jobs_for) if of_job else ("prepares_for", method.prepares_for)
        return UsageError(
            f'method "{method.name}" reads the {what} of a trial while it prepares and declares '
            f"{', '.join(declared or ()) or 'nothing'}; expected {what} in its {where}"
        )


def run(spec: PrepareSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield the method's progress as it comes, then its artifact with the price paid for it."""
    yield from prepare_in(Context, spec, inputs, place)


def prepare_in(
    context_of: Callable[[PrepareSpec, Mapping[str, Any], Place, Method], Context],
    spec: PrepareSpec,
    inputs: Mapping[str, Any],
    place: Place,
) -> Iterator[Event]:
    """Yield the events of a preparation in a context of the given class."""
    method = registry().make(spec.part, spec.method.name, spec.params())
    context = context_of(spec, inputs, place, method)
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            context.count(True)
            outcome["artifact"] = method.prepare(context) if spec.job is None else method.do(context, spec.job)
        except BaseException as error:
            outcome["error"] = error
        finally:
            context.count(False)
            context.events.put(None)

    began = time.perf_counter()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while (event := context.events.get()) is not None:
        yield event
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    artifact: Artifact = outcome["artifact"]
    tensors = {name: value.detach().cpu().numpy() for name, value in artifact.tensors.items()}
    price = Price(seconds=context.seconds_before + time.perf_counter() - began, flops=context.flops)
    yield Result(PrepareOutput(artifact=dict(artifact.facts), price=price), tensors)
