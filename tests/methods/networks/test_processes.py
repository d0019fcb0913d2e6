"""Networks of every process: an exact network gives the exact clean estimate, and one trajectory for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from methods.networks.base import DataShape
from methods.networks.preconditioned import PreconditionedParams, make_preconditioning
from methods.networks.preconditioning import Draws, Preconditioning, RawNetwork
from methods.networks.unet import UNet, UNetParams
from methods.networks.vp_process import BetaTable, CosineBeta, DiscreteBeta, ScaledLinearBeta
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

VP = ("vp", "vp-discrete", "vp-latent", "cosine")
PAIRS = [("edm", None), ("ve", None), ("flow", "velocity"), ("flow-reversed", "velocity"), ("gvp", "velocity")]
PAIRS += [(name, predicts) for name in VP for predicts in ("eps", "x0", "v", "both")]
LEVELS = (0.01, 0.5, 3.0, 80.0)

Target = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From data, noise and level [n, 1, 1, 1] to what a network was trained to return, written by hand."""


class AnyEnd(PreconditionedParams):
    can_predict_both = True


def made(name: str, predicts: str | None, **others: Any) -> Preconditioning:
    return make_preconditioning(AnyEnd(preconditioning=name, predicts=predicts, **others))  # type: ignore[arg-type]


def target(name: str, predicts: str | None) -> Target:
    """Return the target from the process's own path alpha y + beta n."""
    if predicts == "both":
        return lambda y, n, s: torch.cat([y, n], 1)
    if name in VP:
        return {
            "eps": lambda y, n, s: n,
            "x0": lambda y, n, s: y,
            "v": lambda y, n, s: (n - s * y) / (1 + s**2).sqrt(),
        }[str(predicts)]
    return {
        "edm": lambda y, n, s: (y - 0.25 / (s**2 + 0.25) * (y + s * n)) / (s * 0.5 / (s**2 + 0.25).sqrt()),
        "ve": lambda y, n, s: -n,
        "flow": lambda y, n, s: y - n,
        "flow-reversed": lambda y, n, s: n - y,
        "gvp": lambda y, n, s: math.pi / 2 * (s * y - n) / (1 + s**2).sqrt(),
    }[name]


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    y, n = torch.randn(2, len(LEVELS), 3, 2, 2, generator=generator, dtype=torch.float64)
    return y, n, torch.tensor(LEVELS, dtype=torch.float64)


def estimate_error(process: Preconditioning, wanted: Target, sign: float = 1.0) -> float:
    """Return the largest error of D where the network returns its target, with its sign turned or not."""
    y, n, sigma = drawn()
    s = sigma[:, None, None, None]
    found = process.denoise(lambda *_: sign * wanted(y, n, s), y + s * n, sigma, torch.float64)
    return float((found - y).abs().max())


@pytest.mark.parametrize(("name", "predicts"), PAIRS)
def test_a_network_that_returns_its_target_gives_the_data(name: str, predicts: str | None) -> None:
    assert estimate_error(made(name, predicts), target(name, predicts)) < 1e-12


@pytest.mark.parametrize(("name", "predicts"), PAIRS)
def test_the_other_sign_does_not(name: str, predicts: str | None) -> None:
    assert estimate_error(made(name, predicts), target(name, predicts), sign=-1.0) > 0.1


@pytest.mark.parametrize(("name", "predicts"), PAIRS)
def test_a_network_sees_what_it_was_trained_on(name: str, predicts: str | None) -> None:
    y, n, sigma = drawn()
    s = sigma[:, None, None, None]
    paths = {"edm": (s**2 + 0.25).rsqrt(), "ve": torch.ones_like(s), "flow": 1 / (1 + s), "flow-reversed": 1 / (1 + s)}
    seen: list[Tensor] = []

    def look(scaled: Tensor, label: Tensor) -> Tensor:
        seen.append(scaled)
        return target(name, predicts)(y, n, s)

    made(name, predicts).denoise(look, y + s * n, sigma, torch.float64)
    torch.testing.assert_close(seen[0], paths.get(name, (1 + s**2).rsqrt()) * (y + s * n), atol=0, rtol=1e-14)


@pytest.mark.parametrize(("name", "predicts"), [pair for pair in PAIRS if pair[1] != "both"])
def test_training_asks_for_the_target(name: str, predicts: str | None) -> None:
    y, n, sigma = drawn()
    problem = made(name, predicts).regression(y, Draws(sigma, n), torch.float64)
    torch.testing.assert_close(
        problem.target, target(name, predicts)(y, n, sigma[:, None, None, None]), atol=0, rtol=1e-9
    )


@pytest.mark.parametrize(("name", "predicts"), [pair for pair in PAIRS if pair[1] != "both"])
def test_levels_of_training_are_finite_and_above_0(name: str, predicts: str | None) -> None:
    sigma = made(name, predicts).draws((2000, 1), torch.Generator().manual_seed(1)).sigma
    assert bool(((sigma > 0) & sigma.isfinite()).all())
    assert sigma.max() / sigma.min() > 100


@pytest.mark.parametrize("name", ["flow", "flow-reversed", "gvp"])
def test_flows_are_trained_between_a_thousandth_of_their_ends(name: str) -> None:
    process = made(name, None)
    time = process.time(process.draws((20_000, 1), torch.Generator().manual_seed(1)).sigma.double())
    assert time.min() == pytest.approx(0.001, abs=2e-4)
    assert time.max() == pytest.approx(0.999, abs=2e-4)


def test_both_estimates_are_weighed_by_signal_and_noise() -> None:
    _, x, sigma = drawn()
    s = sigma[:, None, None, None]
    found = made("vp", "both").denoise(lambda a, _: torch.cat([0 * a + 2, 0 * a - 1], 1), x, sigma, torch.float64)
    torch.testing.assert_close(found, (s**2 * 2 + x + s) / (1 + s**2), atol=1e-13, rtol=1e-13)


def no_noise(step: int) -> Tensor:
    raise AssertionError("DDIM draws no noise")


def solve(process: Preconditioning, network: RawNetwork, x: Tensor, sigmas: np.ndarray) -> Tensor:
    """Return DDIM's final states of a raw network in float64."""

    def denoise(x: Tensor, level: float) -> Tensor:
        return process.denoise(network, x, x.new_full((len(x),), level), torch.float64)

    for i in range(len(sigmas) - 1):
        x = DDIM().step(x, i, sigmas, denoise, None, no_noise)
    return x


def trajectory(name: str, predicts: str | None) -> Tensor:
    """Return final states of DDIM for data N(0.3, 0.7²), whose exact denoiser is cast into each parameterisation."""
    mean, std, sigmas = 0.3, 0.7, EDM().levels(12, 0.02, 14.0)
    process, wanted = made(name, predicts), target(name, predicts)
    x = sigmas[0] * torch.randn(5, 1, 1, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def denoise(x: Tensor, level: float) -> Tensor:
        s = torch.full((len(x), 1, 1, 1), level, dtype=torch.float64)
        y = mean + std**2 / (std**2 + s**2) * (x - mean)
        return process.denoise(lambda *_: wanted(y, (x - y) / s, s), x, s.flatten(), torch.float64)

    for i in range(len(sigmas) - 1):
        x = DDIM().step(x, i, sigmas, denoise, None, no_noise)
    return x


@pytest.mark.parametrize(("name", "predicts"), PAIRS)
def test_a_gaussian_has_one_trajectory_under_all(name: str, predicts: str | None) -> None:
    torch.testing.assert_close(trajectory(name, predicts), trajectory("vp", "eps"), atol=1e-10, rtol=0)


LABELS = {
    "edm": lambda s: s.log() / 4,
    "ve": lambda s: (s / 2).log(),
    "flow": lambda s: 1 / (1 + s),
    "flow-reversed": lambda s: s / (1 + s),
    "gvp": lambda s: 2 / math.pi * (1 / s).atan(),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_those_of_the_papers(name: str) -> None:
    sigma = torch.tensor(LEVELS, dtype=torch.float64)
    found = made(name, None).coefficients(sigma).noise
    torch.testing.assert_close(found, LABELS[name](sigma), atol=1e-15, rtol=1e-13)


@pytest.mark.parametrize("name", ["flow", "flow-reversed", "gvp", "ve", "vp", "cosine"])
def test_levels_of_times_have_these_times(name: str) -> None:
    process, time = made(name, None), torch.linspace(0.01, 0.95, 20, dtype=torch.float64)
    torch.testing.assert_close(process.time(process.level(time)), time, atol=1e-12, rtol=0)


def test_ends_of_tables_are_the_published_ones() -> None:
    def levels(process: DiscreteBeta, *steps: int) -> list[float]:
        return process.sigma(torch.tensor(steps, dtype=torch.float64) / process.steps).tolist()

    assert levels(DiscreteBeta(), 0, 999) == pytest.approx([0.0100005, 157.4073], rel=1e-5)
    assert levels(ScaledLinearBeta(), 0, 999) == pytest.approx([0.0291672, 14.61464], rel=1e-5)
    assert levels(CosineBeta(), 0, 998, 999) == pytest.approx([0.0064254, 641.7, 20291], rel=1e-4)
    assert levels(DiscreteBeta(), 900, 950, 990) == pytest.approx([60.8, 97.1, 143.8], rel=1e-3)


@pytest.mark.parametrize("process", [DiscreteBeta(), DiscreteBeta(timesteps="nearest"), CosineBeta()])
def test_a_level_of_the_table_is_called_by_its_step(process: DiscreteBeta) -> None:
    tau = torch.arange(1000, dtype=torch.float64)
    torch.testing.assert_close(process.level_label(process.sigma(tau / 1000)), tau, atol=1e-9, rtol=0)


def test_the_nearest_step_is_nearest_in_the_level() -> None:
    process = CosineBeta()
    table = process.sigma(torch.arange(1000, dtype=torch.float64) / 1000)
    sigma = torch.logspace(-2.5, 4.5, 999, dtype=torch.float64)
    assert torch.equal(process.level_label(sigma), (table[None] - sigma[:, None]).abs().argmin(1).double())
    assert not torch.equal(process.level_label(sigma), process.label(process.time(sigma)))


@pytest.mark.parametrize(
    ("table", "theirs"),
    [
        (BetaTable(), {"beta_schedule": "linear"}),
        (BetaTable(0.0008, 0.013, "scaled-linear", 500), {"beta_schedule": "scaled_linear"}),
        (BetaTable(schedule="cosine"), {"beta_schedule": "squaredcos_cap_v2"}),
    ],
)
def test_a_diffusers_scheduler_makes_the_same_images(table: BetaTable, theirs: dict[str, str]) -> None:
    from diffusers import DDIMScheduler

    ends = {"beta_start": table.start, "beta_end": table.end, "num_train_timesteps": table.steps}
    kinds = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
    for predicts, kind in kinds.items():
        scheduler = DDIMScheduler(**ends, **theirs, clip_sample=False, set_alpha_to_one=True, prediction_type=kind)  # type: ignore[arg-type]
        scheduler.set_timesteps(10)
        steps = scheduler.timesteps.tolist()
        betas = {"start": table.start, "end": table.end, "schedule": table.schedule, "steps": table.steps}
        process = made("vp-discrete", predicts, betas=betas)

        def network(x: Tensor, label: Tensor) -> Tensor:
            return torch.tanh(x * (1 + label.view(-1, 1, 1, 1) / table.steps))

        sigmas = process.level(torch.tensor(steps, dtype=torch.float64) / table.steps).numpy()
        x = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        state = x * math.sqrt(1 + sigmas[0] ** 2)

        for step in steps:
            x = scheduler.step(network(x, torch.full((4,), float(step))), step, x, eta=0.0).prev_sample
        state = solve(process, network, state, np.append(sigmas, 0.0))
        assert float((state - x).norm() / x.norm()) < 2e-4


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"preconditioning": "edm", "predicts": "eps"}, "expected none"),
        ({"preconditioning": "flow", "predicts": "v"}, "expected velocity"),
        ({"preconditioning": "vp", "predicts": "velocity"}, "expected eps or x0 or v or both"),
        ({"preconditioning": "vp", "predicts": "both"}, "twice the channels"),
        ({"preconditioning": "vp", "betas": {"steps": 10}}, "vp-discrete alone"),
        ({"preconditioning": "cosine", "timesteps": "nearest"}, "vp-discrete or vp-latent"),
        ({"preconditioning": "vp-discrete", "betas": {"schedule": "sigmoid"}}, "linear"),
    ],
)
def test_what_a_process_does_not_have_is_refused(given: dict[str, Any], found: str) -> None:
    with pytest.raises(ValidationError, match=found):
        PreconditionedParams(**given)


def test_a_unet_predicts_both() -> None:
    size: dict[str, Any] = {"channels": (8, 8), "norm_groups": 4, "preconditioning": "vp"}
    network = UNet(UNetParams(**size, predicts="both"), DataShape(1, 8))
    x, sigma = torch.randn(2, 1, 8, 8), torch.tensor([0.5, 3.0], dtype=torch.float64)
    assert network.raw(x, sigma.float()).shape == (2, 2, 8, 8)
    assert network(x, sigma).shape == x.shape
    with pytest.raises(TypeError, match="not trained"):
        network.loss(x, torch.Generator())
    with pytest.raises(ValueError, match="1 channels; expected 2"):
        make_preconditioning(network.params).denoise(lambda scaled, label: scaled, x, sigma)
