"""Prepare: let a method train, tune or search what it needs, with its time and its FLOPs counted.

The jobs of a search run here too, each on a worker of its own; the preparation that concludes it adds their prices.
A preparation that trains runs on every rank of its task alike; see `harness.training.preparation`.
Counting slows small operators several times, so a long loop is extrapolated from a few counted passes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.errors import HarnessError, UsageError
from harness.measure.flops import count_flops, flop_counter
from harness.registry import registry
from harness.sampling.build import (
    artifact_of,
    as_artifact,
    load_network,
    make_executor,
    make_schedule,
    make_solver,
)
from harness.sampling.call_counts import CallCounts
from harness.sampling.noise import ImageNoise
from harness.sampling.pixels import to_unit
from harness.sampling.place import Place
from harness.sampling.sampler import Sampler
from harness.specs.base import Price
from harness.specs.prepare import PrepareOutput, PrepareSpec
from harness.specs.rules.counting import COUNTED_PASSES
from harness.specs.sampler import PartSpec
from harness.task import CHECKPOINT, IMAGES, Checkpoint, Event, Progress, Result
from harness.training.preparation import Trainings
from methods.parts import (
    Artifact,
    BuiltDenoiser,
    Denoiser,
    DenoiserParams,
    Done,
    Method,
    Sampled,
    Schedule,
    Solver,
    TrainedModule,
    Training,
)


class Context:
    """Implements `methods.parts.PrepareContext` for one preparation or one job of it.

    The method calls it from a thread of the worker's process; its time counts as the preparation's.
    """

    def __init__(self, spec: PrepareSpec, inputs: Mapping[str, Any], place: Place, method: Method) -> None:
        data = spec.model.data
        self.network = load_network(spec.model, inputs, place)
        self.seed = spec.seed
        self.sigma_min, self.sigma_max = spec.sigma_min, spec.sigma_max

        # earlier results, and what they cost
        self.base_artifact: Artifact | None = artifact_of(inputs, spec.start_id)
        finished = [(job.job, inputs[job.task_id]) for job in spec.done]
        self.done: Sequence[Done] = [Done(job, as_artifact(result)) for job, result in finished]
        before = [result.output.price for _, result in finished]
        before += [] if spec.start_id is None else [inputs[spec.start_id].output.price]
        self.before = Price(
            seconds=float(sum(price.seconds for price in before)), flops=float(sum(price.flops for price in before))
        )
        self.flops = 0.0
        """What was counted on this rank, without trainings."""

        self.events: queue.Queue[Event | None] = queue.Queue()

        # trainings, and what they took before a kill
        checkpoint: Checkpoint | None = inputs.get(CHECKPOINT)
        self._spent, self._began = 0.0, time.perf_counter()
        if checkpoint is not None:
            self._spent = float(checkpoint.metadata["device_seconds"])

        self.trainings = Trainings(
            spec.seed,
            place.device,
            self.events.put,
            place.ranks,
            checkpoint,
            spec.checkpoint_seconds,
            self.device_seconds,
        )
        self._method, self._spec, self._inputs, self._place = method, spec, inputs, place
        self._noise = ImageNoise(data.name, spec.seed, data.state_shape, preparation=True)
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
        """Return the training images, float32 [n, channels, height, width] in [-1, 1].

        Raises UsageError where states are latents: nothing here encodes pictures.
        """
        data = self._spec.model.data
        if data.latent is not None:
            raise UsageError(
                f'{self._spec.part} "{self._method.name}" learns from training images, and the states of "{data.name}" '
                "are latents, which nothing here encodes; choose one that does not, or other parameters"
            )
        if not self._spec.reads_images:
            raise UsageError(
                f'{self._spec.part} "{self._method.name}" reads training images while it prepares and declares that it '
                "learns from none; expected learns_from_images = True in it"
            )
        return to_unit(self._inputs[IMAGES])

    def noise(self, index: int) -> Tensor:
        """Return the preparation's own unit noise number `index`."""
        return self._noise.draw_initial([index])[0]

    def levels(self) -> np.ndarray:
        """Return the trial's noise levels, float64 [steps + 1]."""
        steps, schedule = self.steps, self._schedule()
        return schedule.levels(steps, self.sigma_min, self.sigma_max, self.prepared("schedule"))

    def _schedule(self) -> Schedule:
        return make_schedule(self._part("schedule"))

    def prepared(self, part: str) -> Artifact | None:
        """Return the artifact of another part of the trial, None if that part has none."""
        return artifact_of(self._inputs, self._part(part).artifact_id)

    def sample(self, denoiser: BuiltDenoiser, indices: range, batch: int) -> Sampled:
        """Return images from the preparation's own noises, with the FLOPs of the units that ran.

        Counting stops meanwhile: `units` of the denoiser give the FLOPs.
        """
        counting = self._counter is not None
        self.set_counting(False)
        levels, schedule = self.levels(), self._schedule()
        method = self._method
        sampler = Sampler(
            denoiser=denoiser,
            sigmas=levels,
            solver=self.solver,
            executor=make_executor(self._spec.serial, self._inputs),
            noise=self._noise,
            device=self._place.device,
            precision=self._spec.model.precision,
            # as the trial begins, ends and guides
            initial_scale=schedule.initial_scale(levels),
            denoises_last=schedule.denoises_last,
            network=self.network,
            classes=self._spec.classes,
            guidance=method.guidance if isinstance(method, Denoiser) else DenoiserParams(),
        )

        # batches, with progress
        call_counts, states = CallCounts(), []
        for first in range(indices.start, indices.stop, batch):
            states.append(sampler.run(range(first, min(first + batch, indices.stop)), call_counts))
            self.progress(min(first + batch, indices.stop) - indices.start, len(indices), "images")

        # FLOPs from one image through each unit
        ran = call_counts.to_counts().units
        x = sampler.initial_state([indices.start])
        sigma = torch.full((1,), float(sampler.sigmas[0]), dtype=torch.float64)
        names = {name for units in ran.values() for name in units}
        cost = {name: count_flops(call, x, sigma) for name, call in denoiser.units().items() if name in names}
        flops = float(sum(count * cost[name] for units in ran.values() for name, count in units.items()))
        self.flops += flops
        self.set_counting(counting)
        return Sampled(torch.cat(states), flops / len(indices), ran)

    def fid(self, images: Tensor) -> float:
        """Raise HarnessError: a method that measures FID must declare `scores`, and then gets a `ScoringContext`."""
        raise HarnessError(f'method "{self._method.name}" measures FID but does not declare `scores`')

    def train(
        self,
        module: nn.Module,
        draw: Callable[[torch.Generator], Sequence[Tensor]],
        loss: Callable[..., Tensor],
        training: Training,
    ) -> TrainedModule:
        """Train a module on all ranks, and leave it with its averaged weights.

        Counting stops meanwhile: trainings count some of their steps.
        """
        counting = self._counter is not None
        self.set_counting(False)
        trained = self.trainings.train(module, draw, loss, training)
        self.set_counting(counting)
        return trained

    def mean(self, value: Tensor) -> Tensor:
        """Return a mean over this rank's rows as that over all ranks' rows; see `methods.preparing`."""
        return self.trainings.mean(value)

    def device_seconds(self) -> float:
        """Return the seconds of this preparation over all its ranks, those before a checkpoint included."""
        return self._spent + (time.perf_counter() - self._began) * self._place.ranks.size

    def price(self) -> Price:
        """Return what everything took, what this preparation starts from included."""
        assert self.before.flops is not None
        flops = self.before.flops + self.flops * self._place.ranks.size + self.trainings.flops
        return Price(seconds=self.before.seconds + self.device_seconds(), flops=flops)

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1. Some evenly spaced passes are counted; the others are taken to cost their mean."""
        self.set_counting(False)
        counted = {n * k // COUNTED_PASSES for k in range(COUNTED_PASSES)}
        before = self.flops
        for i in range(n):
            self.set_counting(i in counted)
            yield i
        self.set_counting(False)
        self.flops = before + (self.flops - before) * n / max(len(counted), 1)
        self.set_counting(True)

    def set_counting(self, on: bool) -> None:
        """Start counting, or stop and add up; torch counts per thread, so call it in the method's thread."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self.flops += self._counter.get_total_flops()
            self._counter = None
        if on:
            self._counter = flop_counter()
            self._counter.__enter__()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Report progress to the driver; does not block."""
        self.events.put(Progress(done, total, note))

    def _part(self, part: str) -> PartSpec:
        """Return another part of the trial; UsageError if the method did not declare it.

        Trials that differ in an undeclared part share this preparation.
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
    """Yield the method's progress, then its artifact and price."""
    yield from prepare_in(Context, spec, inputs, place)


def prepare_in(
    context_of: Callable[[PrepareSpec, Mapping[str, Any], Place, Method], Context],
    spec: PrepareSpec,
    inputs: Mapping[str, Any],
    place: Place,
) -> Iterator[Event]:
    """Yield the events of a preparation. The method runs in a thread, so that its progress can be yielded."""
    method = registry().make(spec.part, spec.method.name, spec.params())
    context = context_of(spec, inputs, place, method)
    outcome: dict[str, Any] = {}

    def call_method() -> None:
        try:
            context.set_counting(True)
            outcome["artifact"] = method.prepare(context) if spec.job is None else method.do(context, spec.job)
        except BaseException as error:
            outcome["error"] = error
        finally:
            context.set_counting(False)
            context.trainings.close()
            context.events.put(None)

    # the method's thread, until it puts None
    thread = threading.Thread(target=call_method, daemon=True)
    thread.start()
    try:
        while (event := context.events.get()) is not None:
            yield event
    except BaseException:  # the task is stopped
        context.trainings.stop(thread)
        raise
    thread.join()
    if "error" in outcome:
        raise outcome["error"]

    artifact: Artifact = outcome["artifact"]
    tensors = {name: value.detach().cpu().numpy() for name, value in artifact.tensors.items()}
    yield Result(PrepareOutput(artifact=dict(artifact.facts), price=context.price()), tensors)
