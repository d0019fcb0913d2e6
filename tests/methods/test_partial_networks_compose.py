"""Early exit and AdaDiff under every solver and every schedule of the registry: whole trajectories, all counted."""

from __future__ import annotations

import pytest
import torch
from toy_context import ToyContext

from harness.registry import registry
from harness.sampling import Sampler, Work
from harness.seeds import ImageNoise
from methods.networks.base import DataShape
from methods.networks.uvit import UViT, UViTParams
from methods.parts import BuiltDenoiser, Denoiser, Executor, Schedule, Solver

SOLVERS = ["ddpm", "ddim", "heun", "dpmpp-2m", "ipndm", "unipc"]
SCHEDULES = ["uniform-t", "quadratic-t", "cosine", "logsnr", "edm", "arctan", "uniform-sigma"]


@pytest.fixture(scope="module")
def built() -> dict[str, BuiltDenoiser]:
    torch.manual_seed(0)
    network = UViT(UViTParams(depth=4, width=8, heads=1, patch=2), DataShape(1, 4)).eval().requires_grad_(False)
    found = {}
    for name, params in (("early-exit", {"tune_steps": 0}), ("adadiff", {"tune_steps": 1, "theta": 0.5})):
        method = registry().make("denoiser", name, params)
        assert isinstance(method, Denoiser)
        found[name] = method.build(network, method.prepare(ToyContext(network)) if method.prepares else None)
    return found


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("denoiser", ["early-exit", "adadiff"])
def test_every_image_is_finite_and_every_evaluation_is_counted_once(
    built: dict[str, BuiltDenoiser], denoiser: str, solver: str, schedule: str
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
    sampler = Sampler(built[denoiser], sigmas, step, executor, noise, torch.device("cpu"))
    work = Work()
    images = sampler.run(range(3), work)
    assert images.isfinite().all()
    for number, units in work.facts()["units"].items():
        assert sum(units.values()) == work.facts()["evaluations"][number]
