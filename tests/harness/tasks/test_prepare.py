"""Preparing: what it costs is counted, of a long loop on a few passes that stand for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from kit import toys

from harness.config.suite import Suite
from harness.errors import UsageError
from harness.planning.plan import make_plan
from harness.pools.worker import Worker
from harness.sampling.place import Place
from harness.specs.prepare import PrepareOutput, PrepareSpec
from harness.task import IMAGES, Result
from harness.tasks.prepare import Context
from methods.denoisers.full import Full
from methods.parts import Artifact, PrepareContext
from methods.schedules.edm import EDM

PRODUCT = 2 * 8**3
SUITE: dict[str, Any] = {
    "name": "mine", "title": "t", "dataset": "gaussian", "network": "analytic", "extractor": "pixels", "n_images": 20,
    "batch": 10, "baseline": {"clock_steps": 2}, "trials": [{"steps": 2}, {"steps": 2, "schedule": "toy-searched"}],
}  # fmt: skip


@pytest.fixture(autouse=True)
def searched() -> Iterator[None]:
    with toys.registered(toys.Searched):
        yield


def flops(monkeypatch: pytest.MonkeyPatch, work: Callable[[PrepareContext], None]) -> float:
    """Return the counted work of a preparation that does this."""

    def prepare(self: Any, context: PrepareContext) -> Artifact:
        work(context)
        return Artifact()

    monkeypatch.setattr(toys.Searched, "prepare", prepare)
    plan = make_plan(Suite.model_validate(SUITE), "cpu:a chip", "a chip")
    (task,) = (task for task in plan.tasks.values() if task.kind == "prepare")
    (result,) = (e for e in Worker().run(task.spec, {IMAGES: np.zeros((4, 1, 4, 4))}) if isinstance(e, Result))
    assert isinstance(result.output, PrepareOutput)
    return float(result.output.price.flops or 0)


def multiply(times: int = 1) -> None:
    for _ in range(times):
        torch.ones(8, 8) @ torch.ones(8, 8)


@pytest.mark.parametrize("n", [0, 1, 3, 8, 9, 100])
def test_equal_passes_are_counted_exactly_and_so_is_what_surrounds_them(
    monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    def work(context: PrepareContext) -> None:
        multiply()
        assert [i for i in context.passes(n) if multiply() is None] == list(range(n))
        multiply(2)
        for _ in context.passes(2):
            multiply(5)

    assert flops(monkeypatch, work) == PRODUCT * (3 + n + 10)


def test_each_training_prepares_from_noises_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[int, torch.Tensor]] = []

    def prepare(self: Any, context: PrepareContext) -> Artifact:
        found.append((context.seed, context.noise(0)))
        return Artifact()

    monkeypatch.setattr(toys.Searched, "prepare", prepare)
    plan = make_plan(Suite.model_validate(SUITE), "cpu:a chip", "a chip")
    (task,) = (task for task in plan.tasks.values() if task.kind == "prepare")
    for seed in (0, 1, 0):
        list(Worker().run(task.spec.model_copy(update={"seed": seed}), {IMAGES: np.zeros((4, 1, 4, 4))}))
    assert [seed for seed, _ in found] == [0, 1, 0]
    assert torch.equal(found[0][1], found[2][1])
    assert not torch.equal(found[0][1], found[1][1])


def test_uneven_passes_are_taken_to_cost_the_mean_of_those_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(context: PrepareContext) -> None:
        for i in context.passes(800):
            multiply(1 + (i % 200 == 0))  # passes 0, 100, 200, ... are counted, every other one is double

    assert flops(monkeypatch, work) == PRODUCT * 800 * 1.5


def test_most_passes_run_without_the_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    seen = []

    def work(context: PrepareContext) -> None:
        seen.extend(_get_current_dispatch_mode() is not None for _ in context.passes(800))

    flops(monkeypatch, work)
    assert sum(seen) == 8


def test_a_loop_that_is_left_early_or_fails_leaves_no_counter_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves(context: PrepareContext) -> None:
        for i in context.passes(100):
            multiply()
            if i == 0:
                break
        multiply()

    def fails(context: PrepareContext) -> None:
        for _ in context.passes(100):
            raise RuntimeError("a mistake")

    assert flops(monkeypatch, leaves) >= PRODUCT
    with pytest.raises(RuntimeError, match="a mistake"):
        flops(monkeypatch, fails)
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert not torch.nn.modules.module._global_forward_hooks
    assert flops(monkeypatch, lambda context: multiply(3)) == PRODUCT * 3


READS: dict[str, tuple[str, Callable[[PrepareContext], object]]] = {
    "steps": ("steps", lambda context: context.steps),
    "solver": ("solver", lambda context: context.solver),
    "levels": ("schedule", lambda context: context.levels()),
    "artifact": ("schedule", lambda context: context.prepared("schedule")),
    "samples": ("schedule", lambda context: context.sample(Full().build(context.network), range(1), 1)),
}


@pytest.mark.parametrize("what", READS)
@pytest.mark.parametrize("declared", [(), ("steps",), ("steps", "schedule"), ("steps", "schedule", "solver")])
def test_a_preparation_reads_of_a_trial_only_what_it_declared(
    monkeypatch: pytest.MonkeyPatch, what: str, declared: tuple[str, ...]
) -> None:
    """Trials that differ in the rest share it, so what it read would be that of whichever came first."""
    needs = {"levels": ("steps", "schedule"), "samples": ("steps", "schedule", "solver")}.get(what, (READS[what][0],))
    monkeypatch.setattr(toys.Searched, "prepares_for", declared)
    monkeypatch.setattr(toys.Searched, "levels", EDM.levels)  # its own need no artifact here
    missing = [one for one in needs if one not in declared]
    if not missing:
        flops(monkeypatch, READS[what][1])
        return
    with pytest.raises(UsageError) as caught:
        flops(monkeypatch, READS[what][1])
    told = ", ".join(declared) or "nothing"
    assert str(caught.value) == (
        f'method "toy-searched" reads the {missing[0]} of a trial while it prepares and declares {told}; '
        f"expected {missing[0]} in its prepares_for"
    )


def test_a_job_reads_only_what_the_search_declared_for_its_jobs() -> None:
    with toys.registered(toys.Level):
        trials = [{"steps": 2}, {"steps": 2, "denoiser": "toy-level-ladder"}]
        plan = make_plan(Suite.model_validate({**SUITE, "trials": trials}), "cpu:a chip", "a chip")
        (task,) = (task for task in plan.tasks.values() if task.kind == "prepare")
        assert isinstance(task.spec, PrepareSpec)
        assert task.spec.jobs is not None
        spec = task.spec.jobs.model_copy(update={"job": {"number": 1}})
        method = toys.Level()
        context = Context(spec, {}, Place(torch.device("cpu")), method)
        assert method.jobs_for == ("schedule", "solver")
        assert context.solver.name == "ddim"
        with pytest.raises(
            UsageError, match=r"reads the steps .* declares schedule, solver; expected steps in its jobs"
        ):
            _ = context.steps
