"""Feature caches under other solvers and over few-step levels: whole trajectories, finite, every call counted once."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_context import ToyContext

from harness.registry import registry
from harness.sampling.call_counts import CallCounts
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from methods.executors.serial import Serial
from methods.networks.base import DataShape, Network
from methods.networks.unet import UNet, UNetParams
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact, Denoiser, Schedule, Solver
from methods.schedules.edm import EDM

STEPS, LOW, HIGH = 6, 0.01, 20.0
SOLVERS = ["ddim", "heun", "dpmpp-2m", "dpmpp-3m", "deis", "unipc", "pfdiff", "sa-solver", "dpm-v3"]
CACHES: dict[str, tuple[str, dict[str, Any]]] = {
    "fora": ("taylor-cache", {"interval": 2, "order": 0, "anchor": "end"}),
    "taylor-cache": ("taylor-cache", {"interval": 2}),
    "deep-cache": ("deep-cache", {"interval": 2}),
    "step-cache": ("step-cache", {"threshold": 0.6}),
    "smooth-cache": ("smooth-cache", {"alpha": 9.0}),
    "l2c": ("l2c", {"tune_steps": 2, "tune_batch": 4, "trajectories": 4, "penalty": 0.0, "theta": 0.5}),
}
SMALL_PREPARATIONS: dict[str, dict[str, Any]] = {"dpm-v3": {"states": 3, "cells": 6}}


class FewLevels(Schedule):
    """Levels as a few-step search leaves them: uneven, most of them low."""

    name = "toy-few-levels"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        found = np.geomspace(sigma_max, sigma_min, steps + 1)
        found[1:-1] *= np.array([0.3, 0.7, 0.5, 0.9, 0.6])[: steps - 1]
        return found


SCHEDULES: dict[str, Schedule] = {"edm": EDM(), "few levels": FewLevels()}


@cache
def network(is_unet: bool) -> Network:
    torch.manual_seed(0)
    if is_unet:
        made: Network = UNet(UNetParams(channels=(8, 16), middle=False), DataShape(1, 8))
    else:
        made = UViT(UViTParams(depth=4, width=8, heads=1, patch=2), DataShape(1, 4))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return made.eval().requires_grad_(False)


@cache
def sampler(name: str, solver: str, schedule: str) -> Sampler:
    """Return the sampler of a cache, prepared for its parts."""
    denoiser, step = (
        registry().make("denoiser", *CACHES[name]),
        registry().make("solver", solver, SMALL_PREPARATIONS.get(solver, {})),
    )
    assert isinstance(denoiser, Denoiser)
    assert isinstance(step, Solver)
    grid, net = SCHEDULES[schedule], network(name == "deep-cache")
    assert denoiser.refusal({"solver": step, "schedule": grid}, STEPS, net.params) is None

    context = ToyContext(net, solver=step, schedule=grid, steps=STEPS, sigma_min=LOW, sigma_max=HIGH)
    step.artifact = step.prepare(context) if step.prepares else None
    artifact = denoiser.prepare(context) if denoiser.prepares else None
    noise = ImageNoise("digits", 0, (1, net.data.resolution, net.data.resolution))
    return Sampler(denoiser.build(net, artifact), context.levels(), step, Serial(), noise, torch.device("cpu"))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", CACHES)
def test_images_are_finite_and_every_call_is_counted_once(name: str, solver: str, schedule: str) -> None:
    work = CallCounts()
    images = sampler(name, solver, schedule).run(range(3), work)
    assert images.isfinite().all()
    counts = work.to_counts()
    for number, units in counts.units.items():
        assert sum(units.values()) == counts.evaluations[number]
    each = 2 if solver == "heun" else 1
    assert sum(counts.evaluations.values()) == 3 * STEPS * each


@pytest.mark.parametrize("solver", ["dpmpp-2m", "unipc"])
@pytest.mark.parametrize("name", CACHES)
def test_a_cache_saves_calls_and_images_stay_their_own(name: str, solver: str) -> None:
    one = sampler(name, solver, "few levels")
    work = CallCounts()
    images = one.run(range(4), work)
    partly = [unit for units in work.to_counts().units.values() for unit in units if unit != "full"]
    assert partly
    torch.testing.assert_close(one.run(range(2, 3), CallCounts()), images[2:3], rtol=1e-4, atol=1e-4)


def test_a_cache_differs_from_the_whole_network_under_every_solver() -> None:
    for solver in ("dpmpp-2m", "unipc"):
        cached = sampler("taylor-cache", solver, "edm").run(range(2), CallCounts())
        assert not torch.equal(cached, whole(solver).run(range(2), CallCounts()))


def whole(solver: str) -> Sampler:
    net, step = network(False), registry().make("solver", solver, {})
    full = registry().make("denoiser", "full", {})
    assert isinstance(full, Denoiser)
    assert isinstance(step, Solver)
    noise = ImageNoise("digits", 0, (1, 4, 4))
    return Sampler(full.build(net), EDM().levels(STEPS, LOW, HIGH), step, Serial(), noise, torch.device("cpu"))


@pytest.mark.parametrize("name", CACHES)
def test_guidance_in_an_interval_of_levels_is_refused_and_everywhere_is_not(name: str) -> None:
    """Rows come and go with the interval, and what is kept is kept row by row."""
    kind, params = CACHES[name]
    parts = {"solver": registry().make("solver", "ddim", {}), "schedule": EDM()}
    for interval, found in ((None, None), ((0.1, 1.0), "leave it out")):
        guided = registry().make("denoiser", kind, {**params, "guidance": 2.0, "guidance_interval": interval})
        why = guided.refusal(parts, STEPS, network(name == "deep-cache").params)
        assert why is None if found is None else found in str(why)
        assert "\n" not in str(why)


@pytest.mark.parametrize("name", ["fora", "taylor-cache", "deep-cache", "smooth-cache"])
def test_a_cache_has_no_answer_for_rows_that_it_did_not_keep(name: str) -> None:
    """Why such guidance is refused: a cached call of other rows than the whole one before it does not work."""
    built, side = sampler(name, "ddim", "edm").denoiser, network(name == "deep-cache").data.resolution
    x = torch.randn(2, 1, side, side)
    memory = built.init_memory(2)

    def call_with_changing_rows() -> None:
        for step in range(STEPS):
            rows = x if step % 2 == 0 else torch.cat([x, x, x])
            built(rows, torch.full((len(rows),), 1.0 / (1 + step), dtype=torch.float64), step, memory)

    with pytest.raises(RuntimeError):
        call_with_changing_rows()
