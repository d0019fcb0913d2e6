"""Early exit and AdaDiff under every solver and every schedule of the registry: whole trajectories, all counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from kit.toy_context import ToyContext

from harness.registry import registry
from harness.sampling.call_counts import CallCounts
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from methods.networks.base import DataShape
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact, BuiltDenoiser, Denoiser, Executor, Method, Schedule, Solver

SOLVERS = ["ddpm", "ddim", "heun", "dpmpp-2m", "ipndm", "unipc"]
SCHEDULES = ["uniform-t", "quadratic-t", "cosine", "logsnr", "edm", "arctan", "uniform-sigma"]


DENOISERS: dict[str, tuple[str, dict[str, Any]]] = {
    "early-exit": ("early-exit", {"tune_steps": 0}),
    "adadiff": ("adadiff", {"tune_steps": 1, "theta": 0.5}),
    "mean-depth": ("adadiff", {"tune_steps": 1, "theta": 0.5, "rule": "mean-depth"}),
}


@pytest.fixture(scope="module")
def built() -> Callable[[str, str], BuiltDenoiser]:
    """Return what makes a denoiser for a solver, each once: the control's depths are of the solver's trajectories."""
    torch.manual_seed(0)
    network = UViT(UViTParams(depth=4, width=8, heads=1, patch=2), DataShape(1, 4)).eval().requires_grad_(False)

    def prepared(method: Method | None, solver: Solver) -> Artifact | None:
        if method is None or not method.prepares:
            return None
        start = prepared(method.begins_with(), solver)
        return method.prepare(ToyContext(network, solver=solver, sigma_min=0.01, sigma_max=20.0, base_artifact=start))

    @cache
    def make(denoiser: str, solver: str) -> BuiltDenoiser:
        method, step = registry().make("denoiser", *DENOISERS[denoiser]), registry().make("solver", solver, {})
        assert isinstance(method, Denoiser)
        assert isinstance(step, Solver)
        return method.build(network, prepared(method, step))

    return make


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("denoiser", DENOISERS)
def test_every_image_is_finite_and_every_evaluation_is_counted_once(
    built: Callable[[str, str], BuiltDenoiser], denoiser: str, solver: str, schedule: str
) -> None:
    step, grid, executor = (
        registry().make(part, name, {})
        for part, name in (("solver", solver), ("schedule", schedule), ("executor", "serial"))
    )
    assert isinstance(step, Solver)
    assert isinstance(grid, Schedule)
    assert isinstance(executor, Executor)
    sigmas = grid.levels(4, 0.01, 20.0)
    noise = ImageNoise("digits", 0, (1, 4, 4))
    sampler = Sampler(built(denoiser, solver), sigmas, step, executor, noise, torch.device("cpu"))
    work = CallCounts()
    images = sampler.run(range(3), work)
    assert images.isfinite().all()
    for number, units in work.to_counts().units.items():
        assert sum(units.values()) == work.to_counts().evaluations[number]
