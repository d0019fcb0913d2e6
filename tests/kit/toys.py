"""Toy methods that do one thing wrong, or show one thing, and the smallest suite that they run in."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.pools.local import LocalPool
from harness.registry import registry
from harness.task import Result, TaskEvent, Unit
from methods.denoisers.full import Full
from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, BuiltDenoiser, Done, Job, Method, PrepareContext, Units
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

SUITE = """
name = "toy"
title = "Exact score of one Gaussian"
dataset = "gaussian"
network = "analytic"
extractor = "pixels"
n_images = 40
batch = 10
{top}
[baseline]
clock_steps = 2

[timing]
tier = "smoke"
{timing}
{trials}
"""
CLOCK = "[[trials]]\nsteps = 2\n"
BAD_ROW = 3
"""The row of a batch that the NaN toy spoils."""


def suite_file(folder: Path, trials: str = "", top: str = "", timing: str = "") -> str:
    """Write a suite of the clock trial and the given others; return its path."""
    path = folder / "toy.toml"
    path.write_text(SUITE.format(top=top, trials=CLOCK + trials, timing=timing))
    return str(path)


def trial(**entries: object) -> str:
    """Return one `[[trials]]` table."""
    written = {key: f'"{value}"' if isinstance(value, str) else value for key, value in entries.items()}
    return "[[trials]]\n" + "".join(f"{key} = {value}\n" for key, value in written.items())


@contextmanager
def registered(*classes: type[Method]) -> Iterator[None]:
    """Put classes into the registry of this process and take them out again."""
    book = registry()
    try:
        for found in classes:
            book.add(found)
        yield
    finally:
        for found in classes:
            book._methods[found.part].pop(found.name, None)


class CountingPool(LocalPool):
    """Remembers what was started; can break down, like a killed driver, when a given number of results came back."""

    def __init__(self, dies_after: int | None = None, dies_of: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.started: list[Unit] = []
        self.results = 0
        self._dies_after, self._dies_of = dies_after, dies_of

    @property
    def kinds(self) -> dict[str, int]:
        """Return how many units of each kind were started."""
        kinds = [unit.task.kind for unit in self.started]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    def submit(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        self.started.append(unit)
        super().submit(unit, inputs)

    def poll(self, seconds: float) -> list[TaskEvent]:
        if self.results == self._dies_after and self._dies_of is not None:
            self._dies_of()
        events = super().poll(seconds)
        self.results += sum(isinstance(told.event, Result) for told in events)
        return events


class NaN(DDIM):
    """One image of each batch is not a number."""

    name = "toy-nan"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        x = super().step(x, *args).clone()
        x[BAD_ROW :: len(x)] = float("nan")
        return x


class Constant(DDIM):
    name = "toy-constant"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        return torch.zeros_like(super().step(x, *args))


class WrongShape(DDIM):
    name = "toy-wrong-shape"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        return super().step(x, *args)[..., :2]


class FewerImages(DDIM):
    name = "toy-fewer"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        return super().step(x, *args)[:-1]


class Raises(DDIM):
    name = "toy-raises"
    fault: BaseException | None = ValueError("the toy is broken\nin two lines")

    def step(self, x: Tensor, *args: Any) -> Tensor:
        if self.fault is not None:
            raise self.fault
        return super().step(x, *args)


class Exits(DDIM):
    name = "toy-exits"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        sys.exit(0)


class Drifts(DDIM):
    """A cheater: a little other, cheaper image each time it is asked."""

    name = "toy-drifts"
    calls = 0

    def step(self, x: Tensor, *args: Any) -> Tensor:
        type(self).calls += 1
        return super().step(x, *args) + 0.01 * self.calls


class WrongEnd(DDIM):
    """A mutant: asks for D at the end of the step instead of its start."""

    name = "toy-wrong-end"

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Any, memory: Any, noise: Any) -> Tensor:
        return super().step(x, i, sigmas, lambda y, s: denoise(y, float(sigmas[i + 1])), memory, noise)


class Searched(EDM):
    """A schedule that is prepared: EDM's levels, found by a search that multiplies two matrices of 8 x 8."""

    name = "toy-searched"
    prepares = True
    learns_from_images = True
    prepares_for = ("steps",)
    prepared: Sequence[int] = []

    def prepare(self, context: PrepareContext) -> Artifact:
        type(self).prepared = [*self.prepared, context.steps]
        context.progress(1, 1, "searched")
        product = torch.ones(8, 8) @ torch.ones(8, 8)
        assert context.images().shape[1:] == context.noise(0).shape
        levels = EDM().levels(context.steps, context.sigma_min, context.sigma_max)
        return Artifact({"levels": torch.from_numpy(levels)}, {"trace": float(product.trace())})

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        assert artifact is not None
        assert artifact.facts["trace"] == 64.0
        return artifact.tensors["levels"].numpy()


class Ladder(Full):
    """A denoiser whose preparation is a search in two rounds: numbers 0 to 2, then one above the best of them."""

    name = "toy-ladder"
    prepares = True
    prepares_for = ("steps", "schedule", "solver")
    scores = True
    search_only = ("target", "asks_wrongly")

    class Params(Full.Params):
        target: int = 1
        asks_wrongly: bool = False
        cannot_do: int | None = None

    def next_jobs(self, steps: int, network: NetworkParams, done: Sequence[Done]) -> Sequence[Job]:
        if self.params.asks_wrongly:
            raise ValueError("the toy asks\nwrongly")
        if not done:
            return [{"number": n} for n in range(3)]
        return [{"number": self._best(done) + 10}]

    def do(self, context: PrepareContext, job: Job) -> Artifact:
        if job["number"] == self.params.cannot_do:
            raise ValueError("the toy cannot do this")
        sampled = context.sample(self.build(context.network), range(20), 8)
        units = {str(step): dict(ran) for step, ran in sampled.units.items()}
        facts = {"fid": context.fid(sampled.images), "flops": sampled.flops, "units": units}
        return Artifact({"square": torch.tensor([job["number"] ** 2])}, facts)

    def prepare(self, context: PrepareContext) -> Artifact:
        done = context.done
        rows = [
            {"round": i // 3, "candidate": dict(d.job), "n_images": 20, "fid": d.artifact.facts["fid"],
             "flops_per_image": d.artifact.facts["flops"], "objective": abs(d.job["number"] - self.params.target),
             "is_final": i == 3, "is_chosen": i == 3}
            for i, d in enumerate(done)
        ]  # fmt: skip
        squares = torch.cat([d.artifact.tensors["square"] for d in done])
        return Artifact({"squares": squares}, {"history": rows, "units": done[0].artifact.facts["units"]})

    def _best(self, done: Sequence[Done]) -> int:
        return int(min((d.job["number"] for d in done), key=lambda n: abs(n - self.params.target)))


class Level(Ladder):
    """The ladder, but what a job gives depends on the solver alone, not on the number of steps."""

    name = "toy-level-ladder"
    jobs_for = ("schedule", "solver")

    def do(self, context: PrepareContext, job: Job) -> Artifact:
        facts = {"fid": 1.0 + job["number"], "flops": 1.0, "units": {"0": {context.solver.name: 1}}}
        return Artifact({"square": torch.tensor([job["number"] ** 2])}, facts)


class Reads(Full):
    """A denoiser whose preparation notes the trial's levels and what preparing the schedule left."""

    name = "toy-reads"
    prepares = True
    prepares_for = ("steps", "schedule")

    def prepare(self, context: PrepareContext) -> Artifact:
        left = context.prepared("schedule")
        found = None if left is None else left.tensors["levels"].tolist()
        return Artifact(facts={"levels": context.levels().tolist(), "prepared": found})


class Dims(Full):
    """A denoiser that prepares another network, with a flow of its own, or says that it returned the untuned one."""

    name = "toy-dims"
    prepares = True
    own_flow = True

    class Params(Full.Params):
        factor: float = 0.9

    def prepare(self, context: PrepareContext) -> Artifact:
        untuned = {"returned": "the untuned network"} if self.params.factor == 1 else {}
        return Artifact(facts=untuned)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert artifact is not None
        dimmed, untouched = copy.deepcopy(network), network.forward
        factor = self.params.factor
        dimmed.forward = lambda x, sigma: factor * untouched(x, sigma)  # type: ignore[method-assign]
        return super().build(dimmed)


class Climbs(Full):
    """A denoiser that starts from what the ladder's search left."""

    name = "toy-climbs"
    prepares = True

    def begins_with(self) -> Method | None:
        return Ladder(target=2)

    def prepare(self, context: PrepareContext) -> Artifact:
        assert context.base_artifact is not None
        return Artifact(facts={"squares": context.base_artifact.tensors["squares"].tolist()})


class Odd(Full):
    """Runs the network for rows 0, 2, 4, ... of a batch and gives the others their state back."""

    name = "toy-odd"

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _OddRows(network)


class _OddRows(BuiltDenoiser):
    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        runs = torch.arange(len(x)) % 2 == 0
        return torch.where(runs.view(-1, 1, 1, 1), self.network(x, sigma), x), {"network": runs.to(torch.int64)}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"network": self.network}
