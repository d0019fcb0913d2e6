"""The time that `steps/` shows is the one by which methods decide what runs."""

from __future__ import annotations

import math

import pytest
import torch
from kit.block_kit import network
from kit.toy_context import ToyContext

from harness.sampling.call_counts import CallCounts
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from harness.tasks.sample import _cost
from methods.denoisers.early_exit import EarlyExit
from methods.executors.serial import Serial
from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams


@pytest.mark.parametrize("preconditioning", ["edm", "vp", "vp-discrete", "vp-latent"])
def test_depths_follow_from_the_times_shown(preconditioning: str) -> None:
    built = network(depth=12, preconditioning=preconditioning)
    method, context = EarlyExit(schedule="strong", tune_steps=0), ToyContext(built, steps=9, sigma_max=80.0)
    sampler = Sampler(
        method.build(built), context.levels(), context.solver, Serial(), ImageNoise("toy", 0, (1, 8, 8)),
        torch.device("cpu"),
    )  # fmt: skip
    shown, work = _cost(sampler, built), CallCounts()
    assert shown.times == built.preconditioning.time(torch.from_numpy(context.levels())).tolist()
    sampler.run(range(2), work)
    table = method.table(built.exits)
    for step, time in enumerate(shown.times[:-1]):
        assert work.to_counts().units[step] == {f"depth-{table[min(int(10 * time), 9)]}": 2}


def test_an_exact_network_is_told_the_time_of_the_linear_beta_process() -> None:
    exact = Analytic(NetworkParams(), DataShape(1, 1, {"means": [[0.0]], "stds": [0.2], "weights": [1.0]}))
    for t in (1e-3, 0.3, 1.0):
        sigma = torch.tensor([math.sqrt(math.expm1(0.1 * t + 9.95 * t**2))], dtype=torch.float64)
        assert exact.diffusion_time(sigma).item() == pytest.approx(t, rel=1e-9)
