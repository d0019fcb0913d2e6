"""Prepare: let a method train, tune or search what it needs, with its time and its FLOPs counted.

A search spreads over the workers as jobs, which are done here too; the preparation that concludes it pays for them.
Counting slows small operators down several times, so of a long loop only a few passes are counted and stand for all.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.data.cards import DatasetCard
from harness.errors import HarnessError, UsageError
from harness.flops import count_flops, flop_counter
from harness.handles import artifact_of, as_artifact, resolve
from harness.metrics.frechet import frechet_distance
from harness.metrics.moments import Moments
from harness.metrics.reference import ReferenceFeatures
from harness.registry import registry
from harness.sampling.build import build_noise
from harness.sampling.pixels import to_uint8, to_unit
from harness.sampling.sampler import Work
from harness.tasks import Event, Progress, Result
from methods.parts import Artifact, BuiltDenoiser, Done, Method, Sampled, Schedule, Solver

if TYPE_CHECKING:
    from harness.worker import Worker


_COUNTED_PASSES = 8


class Context:
    """What `methods.parts.PrepareContext` promises, for one preparation or one job of it."""

    def __init__(self, spec: Mapping[str, Any], inputs: Mapping[str, Any], worker: Worker, method: Method) -> None:
        self._method = method
        jobs_for = method.jobs_for if "job" in spec else None
        self._declared = method.prepares_for if jobs_for is None else jobs_for
        card = DatasetCard(**spec["sampler"]["dataset"])
        self.network = worker.network(spec["sampler"], inputs)
        self.seed = int(spec["seed"])
        self.sigma_min, self.sigma_max = card.sigma_min, card.sigma_max
        self.start: Artifact | None = artifact_of(inputs, spec.get("start"))
        finished = [(job, resolve(handle)) for job, handle in inputs.get("done", ())]
        self.done: Sequence[Done] = [Done(job, as_artifact(result)) for job, result in finished]
        before = [result.facts["price"] for _, result in finished]
        before += [resolve(inputs[spec["start"]]).facts["price"]] if "start" in spec else []
        self.flops = float(sum(price["flops"] for price in before))
        self.seconds_before = float(sum(price["seconds"] for price in before))
        self.events: queue.Queue[Event | None] = queue.Queue()
        self._spec, self._inputs, self._worker = spec, inputs, worker
        self._noise = build_noise(spec["sampler"], preparation=True)
        self._counter: FlopCounterMode | None = None

    @property
    def steps(self) -> int:
        """Return the trial's number of steps."""
        self._ask("steps")
        return int(self._spec["sampler"]["steps"])

    @property
    def solver(self) -> Solver:
        """Return the trial's solver."""
        self._ask("solver")
        solver = registry().make("solver", **_named(self._spec["sampler"]["parts"]["solver"]))
        assert isinstance(solver, Solver)
        return solver

    def _ask(self, *wanted: str) -> None:
        """Refuse what the method did not declare: trials that differ in it share this preparation."""
        for what in wanted:
            if what not in self._declared:
                where = "prepares_for" if self._method.jobs_for is None or "job" not in self._spec else "jobs_for"
                raise UsageError(
                    f'method "{self._method.name}" reads the {what} of a trial while it prepares and declares '
                    f"{', '.join(self._declared) or 'nothing'}; expected {what} in its {where}"
                )

    def images(self) -> Tensor:
        """Return the training images, float32 [n, channels, height, width] in [-1, 1]."""
        return to_unit(resolve(self._inputs["images"]))

    def noise(self, index: int) -> Tensor:
        """Return the preparation's own unit noise number `index`."""
        return self._noise.initial([index])[0]

    def levels(self) -> np.ndarray:
        """Return the trial's noise levels, float64 [steps + 1]."""
        self._ask("steps", "schedule")
        schedule = registry().make("schedule", **_named(self._spec["sampler"]["parts"]["schedule"]))
        assert isinstance(schedule, Schedule)
        return schedule.levels(self.steps, self.sigma_min, self.sigma_max, self.prepared("schedule"))

    def prepared(self, part: str) -> Artifact | None:
        """Return what preparing another part of the trial left, None if it left nothing."""
        self._ask(part)
        return artifact_of(self._inputs, self._spec["sampler"]["parts"][part].get("artifact_id"))

    def sample(self, denoiser: BuiltDenoiser, indices: range, batch: int) -> Sampled:
        """Return images of these indices of the preparation's noises; their FLOPs are those of the units that ran."""
        self._ask("steps", "schedule", "solver")
        counting = self._counter is not None
        self.count(False)
        sampler = self._worker.sampler(self._spec["sampler"], self._inputs, denoiser, self._noise)
        work, states = Work(), []
        for first in range(indices.start, indices.stop, batch):
            states.append(sampler.run(range(first, min(first + batch, indices.stop)), work))
            self.progress(min(first + batch, indices.stop) - indices.start, len(indices), "images")
        ran = {int(step): units for step, units in work.facts()["units"].items()}
        x = sampler.start([indices.start])
        sigma = torch.full((1,), float(sampler.sigmas[0]), dtype=torch.float64)
        names = {name for units in ran.values() for name in units}
        cost = {name: count_flops(call, x, sigma) for name, call in denoiser.units().items() if name in names}
        flops = float(sum(count * cost[name] for units in ran.values() for name, count in units.items()))
        self.flops += flops
        self.count(counting)
        return Sampled(torch.cat(states), flops / len(indices), ran)

    def fid(self, images: Tensor) -> float:
        """Return the FID of final states [n, ...] to the reference set, by the suite's feature network."""
        if "reference" not in self._spec:
            raise HarnessError(f'method "{self._method.name}" measures FID but does not declare `scores`')
        extractor = self._worker.extractor(self._spec["extractor"], self._inputs)
        reference = ReferenceFeatures.from_tensors(resolve(self._inputs[self._spec["reference"]]).tensors)
        pixels = to_uint8(images).cpu()
        features = np.concatenate([extractor(block).cpu().numpy() for block in pixels.split(extractor.batch)])
        if len(pixels) <= reference.dim:
            raise UsageError(
                f"a search scores {len(pixels)} images by {reference.dim} features; FID needs more images than features"
            )
        return frechet_distance(reference.frechet, Moments.of(features))

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1, counting some passes, spread evenly; the others are taken to cost their mean."""
        self.count(False)
        counted = {n * k // _COUNTED_PASSES for k in range(_COUNTED_PASSES)}
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


def _named(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": facts["name"], "params": facts["params"]}


def run(spec: dict[str, Any], inputs: Mapping[str, Any], worker: Worker) -> Iterator[Event]:
    """Yield the method's progress as it comes, then its artifact with the price paid for it."""
    method = registry().make(spec["part"], spec["method"]["name"], spec["method"]["params"])
    context = Context(spec, inputs, worker, method)
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            context.count(True)
            outcome["artifact"] = method.do(context, spec["job"]) if "job" in spec else method.prepare(context)
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
    artifact = outcome["artifact"]
    tensors = {name: value.detach().cpu().numpy() for name, value in artifact.tensors.items()}
    price = {"seconds": context.seconds_before + time.perf_counter() - began, "flops": context.flops}
    yield Result(tensors, {"artifact": dict(artifact.facts), "price": price})
