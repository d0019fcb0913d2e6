"""Early exit's control: the same depths in reversed order, equal in FLOPs to the unit under any schedule and solver."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from kit.block_kit import both, network
from kit.toy_context import ToyContext
from torch import Tensor

from harness.sampling.call_counts import CallCounts
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from methods.denoisers.early_exit import EarlyExit
from methods.denoisers.early_exit_depths import ByLevel, ByTime, Depths, reversed_depths
from methods.executors.serial import Serial
from methods.networks.blocks import BlockNetwork
from methods.parts import Artifact, BuiltDenoiser, Schedule, Solver, StepNoise, Units
from methods.schedules.cosine import Cosine
from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.schedules.uniform_t import UniformT
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun
from methods.solvers.unipc import UniPC

EXITS: dict[str, Any] = {"schedule": "strong", "tune_steps": 0}


class Told(BuiltDenoiser):
    """Remembers level and depth of every evaluation."""

    def __init__(self, inner: BuiltDenoiser) -> None:
        self.inner, self.levels, self.depths = inner, [], []  # type: ignore[var-annotated]

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        denoised, units = self.inner(x, sigma, step)
        ((name, count),) = units.items()
        assert count == 1
        self.levels.append(float(sigma[0]))
        self.depths.append(int(name.removeprefix("depth-")))
        return denoised, units

    def units(self) -> Any:
        return self.inner.units()


def trajectory(context: ToyContext, method: EarlyExit) -> tuple[Told, CallCounts]:
    """Return every evaluation of a trial of three images, and its work as the engine counts it."""
    artifact = method.prepare(context) if method.prepares else None
    told, work = Told(method.build(context.network, artifact)), CallCounts()
    noise = ImageNoise("toy", 0, (1, 8, 8))
    Sampler(told, context.levels(), context.solver, Serial(), noise, torch.device("cpu")).run(range(3), work)
    return told, work


def flops(context: ToyContext, method: EarlyExit) -> float:
    artifact = method.prepare(context) if method.prepares else None
    return context.sample(method.build(context.network, artifact), range(2), 2).flops


@both
@pytest.mark.parametrize("solver", [DDIM, DDPM, DPMPP2M, UniPC, Heun], ids=lambda s: s.name)
@pytest.mark.parametrize("schedule", [EDM, LogSNR, UniformT, Cosine], ids=lambda s: s.name)
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_the_same_depths_run_in_reversed_order(
    family: str, solver: type[Solver], schedule: type[Schedule], steps: int
) -> None:
    context = ToyContext(network(family), steps=steps, solver=solver(), schedule=schedule(), sigma_min=0.002)
    (forward, work), (control, same) = (trajectory(context, EarlyExit(**EXITS, reverse=r)) for r in (False, True))
    assert control.levels == forward.levels
    assert control.depths == forward.depths[::-1]
    assert len(forward.depths) == steps * solver.evaluations_per_step
    totals = [{}, {}]  # type: ignore[var-annotated]
    for total, ran in zip(totals, (work, same), strict=True):
        for units in ran.to_counts().units.values():
            for name, count in units.items():
                total[name] = total.get(name, 0) + count
    assert totals[0] == totals[1]


@pytest.mark.parametrize("solver", [DDIM(), Heun()], ids=lambda s: s.name)
def test_flops_are_equal_where_the_table_turned_round_in_time_is_not(solver: Solver) -> None:
    context = ToyContext(network("dit"), steps=10, solver=solver, sigma_min=0.002, sigma_max=20.0)
    whole = flops(context, EarlyExit(schedule="full", tune_steps=0))
    forward, control = (flops(context, EarlyExit(**EXITS, reverse=r)) for r in (False, True))
    assert control == forward < whole
    table = EarlyExit(**EXITS).table(context.network.exits)  # type: ignore[union-attr]
    turned = flops(context, EarlyExit(schedule=table[::-1], tune_steps=0))
    assert abs(turned - forward) > 0.01 * forward


def test_between_the_levels_of_a_trial_the_one_above_decides() -> None:
    built = network()
    context = ToyContext(built, steps=5)
    method = EarlyExit(**EXITS, reverse=True)
    artifact = method.prepare(context)
    depths, levels = method.depths(built, artifact.facts), context.levels()
    forward = EarlyExit(**EXITS).depths(built, {}).at(torch.from_numpy(levels[:-1])).tolist()
    assert len(set(forward)) > 2
    assert artifact.facts["depths"] == forward[::-1]
    assert artifact.facts["levels"] == levels[:-1].tolist()
    for (high, low), depth in zip(pairwise(levels), forward[::-1], strict=True):
        inside = torch.tensor([high, 0.5 * (high + low), low * (1 + 1e-6)], dtype=torch.float64)
        assert depths.at(inside).tolist() == [depth] * 3
    ends = torch.tensor([1e6, levels[-1], 1e-6], dtype=torch.float64)
    assert depths.at(ends).tolist() == [forward[-1], forward[0], forward[0]]
    assert depths.at(torch.from_numpy(levels[:-1] * (1 + 2e-16))).tolist() == forward[::-1]  # a last bit elsewhere


def test_tuning_runs_the_depths_of_sampling() -> None:
    """One row at one level: the loss is the plain one of the network cut at the control's depth there."""
    built = network()
    for seed in range(6):
        context = ToyContext(built, seed=seed, steps=5)
        method = EarlyExit(schedule="strong", tune_steps=1, tune_batch=1, reverse=True, tune_levels="training")
        artifact = method.prepare(context)
        generator = torch.Generator().manual_seed(seed)
        clean = context.images()[torch.randint(40, (1,), generator=generator)]
        draws = built.draws(tuple(clean.shape), generator)
        depth = int(method.depths(built, artifact.facts).at(draws[0]))
        asked = built.regression(clean, draws)  # type: ignore[arg-type]
        expected = (built.raw(asked.scaled, asked.label, depth) - asked.target).square().mean().item()
        assert artifact.facts["loss"] == pytest.approx(expected, rel=1e-5)


def test_untuned_it_keeps_the_networks_weights_and_is_prepared_for_its_trial() -> None:
    method = EarlyExit(**EXITS, reverse=True)
    assert method.prepares
    assert method.prepares_for == ("steps", "schedule", "solver")
    assert EarlyExit(**EXITS).prepares_for == ()
    artifact = method.prepare(ToyContext(network()))
    assert not artifact.tensors
    assert isinstance(artifact, Artifact)


def test_time_weights_have_mean_one_over_time_whatever_the_pieces() -> None:
    built = network()
    method = EarlyExit(**EXITS, time_weight=3.0, reverse=True)
    facts = method.prepare(ToyContext(built, steps=5, sigma_max=150.0)).facts
    depths: Depths = method.depths(built, facts)
    weights = method._weights(depths)[:, 0, 0, 0]
    times = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    process = built.preconditioning.process  # type: ignore[attr-defined]
    assert weights[depths.piece(process.sigma(times))].mean().item() == pytest.approx(1, abs=1e-4)
    assert weights[depths.depths == 0].unique().tolist() == pytest.approx([4 * weights.min().item()])


class Twice(Solver):
    """Asks twice at a step's start, but once in the last step, as Heun's method does towards the level 0."""

    name = "toy-twice"
    summary = "two evaluations a step, one in the last"
    order = 1

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Any, memory: Any, noise: StepNoise) -> Tensor:
        for _ in range(1 if i == len(sigmas) - 2 else 2):
            denoise(x, float(sigmas[i]))
        return x


def test_a_level_that_would_need_two_depths_is_refused_in_one_sentence() -> None:
    context = ToyContext(network(), solver=Twice())
    with pytest.raises(ValueError, match=r"the level .* would run .* blocks, so reverse cannot keep the FLOPs; take"):
        EarlyExit(**EXITS, reverse=True).prepare(context)


def test_levels_and_depths_by_hand() -> None:
    def time(sigma: Tensor) -> Tensor:
        return sigma / 10

    forward = ByTime([3, 1], time)
    levels, depths = reversed_depths(forward, [9.0, 4.0, 4.0, 1.0])
    assert (levels, depths) == ([9.0, 4.0, 1.0], [3, 3, 1])
    assert reversed_depths(forward, [9.0, 6.0, 1.0]) == ([9.0, 6.0, 1.0], [3, 1, 1])
    by_level = ByLevel(depths, levels, time)
    assert by_level.lengths().tolist() == pytest.approx([0.6, 0.3, 0.1])


def test_a_network_of_any_kind_can_be_told_the_time() -> None:
    built: BlockNetwork = network(preconditioning="vp")
    sigma = torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)
    assert torch.equal(built.diffusion_time(sigma), built.preconditioning.time(sigma))
