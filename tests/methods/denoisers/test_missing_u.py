"""The Missing U at sampling time: the solver that runs, the counts that it returns, and what a unit costs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from harness.errors import UsageError
from harness.measure.flops import count_flops
from harness.registry import registry
from harness.sampling.call_counts import CallCounts
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from methods.denoisers.missing_u import MissingU
from methods.executors.serial import Serial
from methods.networks.base import DataShape
from methods.networks.continuous_unet import ContinuousUNet, ContinuousUNetParams
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

BLOCKS = ("down1", "down2", "bottom", "up1", "up2")


def network(**changes: Any) -> ContinuousUNet:
    torch.manual_seed(0)
    params: dict[str, Any] = {"channels": (8, 8, 16), "attention_levels": (1,)}
    if changes.get("profile") != "authors":
        params.update(norm_groups=4, time_channels=16, zero_init=False)
    return ContinuousUNet(ContinuousUNetParams(**{**params, **changes}), DataShape(1, 8)).eval().requires_grad_(False)


def question(rows: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return states and their levels, which lie on the host in float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 1, 8, 8, generator=generator).to(dtype)
    return x, torch.logspace(-1, 1, rows, dtype=torch.float64)


FIXED = [
    ({"ode_solver": "euler"}, 1),
    ({"ode_solver": "midpoint"}, 2),
    ({"ode_solver": "heun3", "ode_steps": 2}, 6),
    ({}, 4),
    ({"ode_steps": 2}, 8),
    ({"ode_steps": 3}, 12),
]


@pytest.mark.parametrize(
    ("params", "evaluations", "changes"),
    [
        *((params, evaluations, {}) for params, evaluations in FIXED),
        ({"ode_steps": 2}, 8, {"tau_input": True}),
        ({"ode_steps": 2}, 8, {"profile": "authors"}),
        *(({"ode_solver": "dopri5", "tolerance": 1e-2}, None, each) for each in ({}, {"profile": "authors"})),
    ],
)
def test_units_times_counts_are_the_work_of_the_call(
    params: dict[str, Any], evaluations: int | None, changes: dict[str, Any]
) -> None:
    built, (x, sigma) = MissingU(**params).build(network(**changes)), question()
    _, counts = built(x, sigma, 0)
    cost = {name: count_flops(call, x, sigma) for name, call in built.units().items()}
    assert list(cost) == list(counts) == ["frame", *(f"f-{name}" for name in BLOCKS)]
    assert counts["frame"] == 1
    assert all(counts[f"f-{name}"] == evaluations for name in BLOCKS) or evaluations is None
    assert all(flops > 0 for flops in cost.values())
    assert sum(int(counts[name]) * cost[name] for name in cost) == count_flops(lambda: built(x, sigma, 0))


@torch.inference_mode()
@pytest.mark.parametrize(
    "trained", [{}, {"ode_solver": "euler", "ode_steps": 3}, {"ode_solver": "bosh3", "tolerance": 1e-2}]
)
def test_without_parameters_the_network_runs_as_trained(trained: dict[str, Any]) -> None:
    whole, (x, sigma) = network(**trained), question(3)
    denoised, counts = MissingU().build(whole)(x, sigma, 0)
    assert torch.equal(denoised, whole(x, sigma))
    if whole.params.fixed_cost:
        assert counts == {"frame": 1, **{f"f-{name}": 3 if trained else 4 for name in BLOCKS}}
    assert all(isinstance(count, int) and count > 0 for count in counts.values())


@torch.inference_mode()
def test_every_solver_tends_to_the_same_image_and_tells_its_own_counts() -> None:
    """Denoisers over one network do not touch each other, nor the network."""
    whole, (x, sigma) = network().double(), question(2, torch.float64)
    before = whole(x, sigma)
    fine = {
        "rk4": MissingU(ode_steps=16),
        "midpoint": MissingU(ode_solver="midpoint", ode_steps=128),
        "dopri5": MissingU(ode_solver="dopri5", tolerance=1e-6),
        "bosh3": MissingU(ode_solver="bosh3", tolerance=1e-7),
    }
    built = {name: method.build(whole) for name, method in fine.items()}
    found = {name: call(x, sigma, 0) for name, call in built.items()}
    for name, (image, _) in found.items():
        torch.testing.assert_close(image, found["rk4"][0], atol=1e-4, rtol=0, msg=name)
    assert float((before - found["rk4"][0]).abs().max()) > 1e-6  # one step is not exact
    assert [found[name][1]["f-bottom"] for name in ("rk4", "midpoint")] == [64, 256]
    assert torch.equal(whole(x, sigma), before)


@torch.inference_mode()
def test_under_an_adaptive_solver_counts_depend_on_tolerance_and_images_on_their_batch() -> None:
    whole, (x, sigma) = network().double(), question(4, torch.float64)
    x[3] *= 30
    totals = []
    for tolerance in (1e-1, 1e-3, 1e-6):
        built = MissingU(ode_solver="dopri5", tolerance=tolerance).build(whole)
        totals.append(sum(int(count) for count in built(x, sigma, 0)[1].values()))
    assert totals[0] < totals[1] < totals[2]
    adaptive, fixed = MissingU(ode_solver="dopri5", tolerance=1e-3).build(whole), MissingU().build(whole)
    for built, apart in ((adaptive, True), (fixed, False)):
        together, alone = built(x, sigma, 0)[0][:1], built(x[:1], sigma[:1], 0)[0]
        assert (float((together - alone).abs().max()) > 1e-10) is apart


def refused(trained: dict[str, Any], **asked: Any) -> str | None:
    sound: dict[str, Any] = {"channels": (8, 16), "norm_groups": 4, **trained}
    return MissingU(**asked).refusal({}, 10, ContinuousUNetParams(**sound))


def test_what_does_not_fit_the_trained_solver_is_refused_in_a_sentence() -> None:
    adaptive = {"ode_solver": "dopri5", "tolerance": 1e-4}
    assert refused({}) is None
    assert refused(adaptive) is None
    assert refused(adaptive, ode_solver="bosh3") is None  # at the trained tolerance
    assert refused(adaptive, ode_solver="rk4", ode_steps=2) is None
    assert "takes fixed steps" in (refused({}, tolerance=1e-3) or "")
    assert "found no tolerance" in (refused({}, ode_solver="dopri5") or "")
    assert "chooses its own steps" in (refused(adaptive, ode_steps=2) or "")
    assert refused({"ode_steps": 3}, ode_solver="dopri5", tolerance=1e-3) is None


def test_trained_steps_and_tolerance_are_kept_where_they_fit() -> None:
    def solved(trained: dict[str, Any], **asked: Any) -> tuple[str, int, float | None]:
        found = MissingU(**asked).integration(ContinuousUNetParams(channels=(8, 16), norm_groups=4, **trained))
        return found.solver, found.steps, found.tolerance

    assert solved({"ode_steps": 3}) == ("rk4", 3, None)
    assert solved({"ode_steps": 3}, ode_solver="euler") == ("euler", 3, None)
    assert solved({"ode_steps": 3}, ode_steps=2) == ("rk4", 2, None)
    assert solved({"ode_steps": 3}, ode_solver="dopri5", tolerance=1e-2) == ("dopri5", 1, 1e-2)
    assert solved({"ode_solver": "dopri5", "tolerance": 1e-4}, ode_solver="rk4") == ("rk4", 1, None)
    assert solved({"ode_solver": "dopri5", "tolerance": 1e-4}, tolerance=1e-2) == ("dopri5", 1, 1e-2)


def test_senseless_numbers_are_refused() -> None:
    for tolerance in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ValidationError, match="an ODE tolerance is the error allowed to a step; expected a finite"):
            MissingU(ode_solver="dopri5", tolerance=tolerance)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        MissingU(ode_steps=0)
    with pytest.raises(UsageError, match=r"tolerance is 0; .*take for instance 1e-3") as caught:
        registry().make("denoiser", "missing-u", {"ode_solver": "dopri5", "tolerance": 0})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("params", [{"ode_solver": "midpoint"}, {"ode_solver": "dopri5", "tolerance": 1e-2}])
def test_a_whole_trajectory_is_counted(params: dict[str, Any]) -> None:
    denoiser = MissingU(**params).build(network())
    noise, cpu = ImageNoise("digits", 0, (1, 8, 8)), torch.device("cpu")
    sampler = Sampler(denoiser, EDM().levels(4, 0.01, 20.0), DDIM(), Serial(), noise, cpu)
    work = CallCounts()
    assert sampler.run(range(3), work).isfinite().all()
    for units in work.to_counts().units.values():
        assert units["frame"] == 3
        each = {units[f"f-{name}"] for name in BLOCKS}
        assert each == {6} if params["ode_solver"] == "midpoint" else all(n % 3 == 0 and n >= 24 for n in each)
