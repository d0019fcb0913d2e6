"""What a method prepares reaches every part, and a denoiser may remember the calls of its trajectory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit import toys
from kit.toys import CountingPool, suite_file, trial
from torch import Tensor

import harness
from harness.errors import UsageError
from harness.registry import Registry
from methods.denoisers.full import Full
from methods.executors.serial import Serial
from methods.parts import Artifact, BuiltDenoiser, PrepareContext, Solver, Units
from methods.solvers.ddim import DDIM
from methods.solvers.heun import Heun


class Prepared(DDIM):
    """A solver whose preparation leaves a factor; it must come to every step."""

    name = "toy-prepared-solver"
    prepares = True

    def prepare(self, context: PrepareContext) -> Artifact:
        return Artifact({"factor": torch.tensor([0.5])}, {"made": True})

    def init_memory(self, artifact: Artifact | None) -> float:
        assert artifact is not None
        assert artifact.facts["made"] is True
        return float(artifact.tensors["factor"])

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Any, memory: Any, noise: Any) -> Tensor:
        return super().step(x, i, sigmas, denoise, None, noise) * memory


class Halves(DDIM):
    """The same with the factor written down."""

    name = "toy-halves"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        return super().step(x, *args) * 0.5


class PreparedExecutor(Serial):
    """An executor whose preparation leaves a number that it needs to run."""

    name = "toy-prepared-executor"
    prepares = True

    def prepare(self, context: PrepareContext) -> Artifact:
        return Artifact(facts={"answer": 42})

    def run(self, *args: Any) -> Tensor:
        assert self.artifact is not None
        assert self.artifact.facts == {"answer": 42}
        return super().run(*args)


class Counts(BuiltDenoiser):
    """Counts the calls of its trajectory into the state, so that the images tell how many there were."""

    has_memory = True

    def __init__(self, inner: BuiltDenoiser) -> None:
        self._inner = inner

    def init_memory(self, rows: int) -> dict[str, Any]:
        return {"calls": 0, "rows": rows}

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (mine,) = memory
        assert mine["rows"] == len(x)
        mine["calls"] += 1
        Remembers.calls.append((mine["calls"], step))
        return self._inner(x, sigma, step)

    def units(self) -> Any:
        return self._inner.units()


class Remembers(Full):
    name = "toy-remembers"
    has_memory = True
    calls: list[tuple[int, int]] = []  # noqa: RUF012

    def build(self, network: Any, artifact: Artifact | None = None) -> BuiltDenoiser:
        return Counts(super().build(network, artifact))


@pytest.fixture(autouse=True)
def toy_methods() -> Iterator[None]:
    Remembers.calls.clear()
    with toys.registered(Prepared, Halves, PreparedExecutor, Remembers):
        yield


def rows(folder: Path, trials: str) -> Any:
    tables = harness.run(suite_file(folder, trials), pool=CountingPool, results=folder / "results", report=False)
    return tables.trials.set_index("method")


def test_what_a_solver_prepares_comes_to_every_step(tmp_path: Path) -> None:
    found = rows(tmp_path, trial(solver="toy-prepared-solver", steps=4) + trial(solver="toy-halves", steps=4))
    assert set(found["verdict"]) == {"VALID"}
    assert found.loc["toy-prepared-solver", "images_sha256"] == found.loc["toy-halves", "images_sha256"]
    assert found.loc["toy-halves", "images_sha256"] != found.loc["ddim", "images_sha256"]
    assert found.loc["toy-prepared-solver", "prepare_seconds"] > 0


def test_what_an_executor_prepares_is_there_when_it_runs(tmp_path: Path) -> None:
    found = rows(tmp_path, trial(executor="toy-prepared-executor", steps=2))
    name = next(name for name in found.index if "toy-prepared-executor" in name)
    assert found.loc[name, "verdict"] == "VALID"
    assert found.loc[name, "images_sha256"] == found.loc["ddim", "images_sha256"]


@pytest.mark.parametrize("solver", [DDIM, Heun])
def test_memory_begins_anew_with_every_trajectory_and_calls_are_counted_not_steps(solver: type[Solver]) -> None:
    made = harness.make_sampler("analytic", dataset="gaussian", denoiser="toy-remembers", solver=solver.name, steps=3)
    calls = 3 * solver.evaluations_per_step
    for images in (range(2), range(5)):
        Remembers.calls.clear()
        made.images(images)
        assert [number for number, _ in Remembers.calls] == list(range(1, calls + 1))
        assert [step for _, step in Remembers.calls] == sorted([0, 1, 2] * solver.evaluations_per_step)


def test_a_denoiser_with_memory_changes_no_image_and_no_count(tmp_path: Path) -> None:
    found = rows(tmp_path, trial(denoiser="toy-remembers", steps=2))
    name = next(name for name in found.index if "toy-remembers" in name)
    assert found.loc[name, "verdict"] == "VALID"
    for column in ("images_sha256", "nfe", "flops_per_image"):
        assert found.loc[name, column] == found.loc["ddim", column]


@pytest.mark.parametrize("executor", ["srds", "paradigms"])
def test_parallel_executors_refuse_memory_with_the_reason(executor: str) -> None:
    with pytest.raises(UsageError, match=r"remembers earlier calls of a trajectory.*choose the executor serial"):
        harness.make_sampler("analytic", dataset="gaussian", denoiser="toy-remembers", executor=executor, steps=9)


def test_a_plug_in_of_before_is_told_what_to_rename() -> None:
    class Old(DDIM):
        name = "toy-old"

        def start(self) -> None:
            return None

    book = Registry()
    book.add(Old)
    book.add(DDIM)
    assert book.make("solver", "ddim", {}).name == "ddim"
    with pytest.raises(UsageError, match=r"Old defines start\(\), which is now init_memory\(artifact\); rename it"):
        book.make("solver", "toy-old", {})


def test_a_plug_in_that_reads_an_outdated_name_of_its_context_gets_the_new_one() -> None:
    class Old(DDIM):
        name = "toy-old"

        def prepare(self, context: PrepareContext) -> Artifact:
            thread: Any = None
            return context.start or thread.start()  # type: ignore[attr-defined]

    class New(DDIM):
        name = "toy-new"

        def prepare(self, context: PrepareContext) -> Artifact:
            thread: Any = None
            return context.base_artifact or thread.start()

    book = Registry()
    book.add(Old)
    book.add(New)
    assert book.make("solver", "toy-new", {}).name == "toy-new"
    with pytest.raises(UsageError, match=r"Old\.prepare\(\) reads start of its context, which is now base_artifact"):
        book.make("solver", "toy-old", {})
