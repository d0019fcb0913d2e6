"""Tuning at selected levels: which levels are drawn, the loss, what an exact denoiser learns, what a small net does."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from kit import digits_kit
from kit.toy_context import ToyContext
from torch import Tensor, nn

from harness.errors import HarnessError
from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.networks.continuous_unet import ContinuousUNet, ContinuousUNetParams
from methods.networks.dit import DiT, DiTParams
from methods.networks.preconditioned import PreconditionedNetwork, PreconditionedParams
from methods.networks.preconditioning import Draws, Edm
from methods.networks.slimmable_unet import SlimmableUNet, SlimmableUNetParams
from methods.networks.unet import UNet, UNetParams
from methods.networks.uvit import UViT, UViTParams
from methods.tuning.level_loss import LevelLoss, weighted_errors
from methods.tuning.level_tuning import (
    LevelTuningParams,
    named_in_network,
    tune_at,
    untunable_at_levels,
    weights_among,
)

LEVELS = np.array([10.0, 2.0, 0.7, 0.02])
TRANSFORMER: dict[str, Any] = {"depth": 2, "width": 16, "heads": 2, "patch": 2}
MADE: dict[str, tuple[type[PreconditionedNetwork], PreconditionedParams]] = {
    "unet": (UNet, UNetParams(channels=(8,), patch=2, middle=False, dropout=0.1)),
    "slimmable-unet": (
        SlimmableUNet,
        SlimmableUNetParams(channels=(8,), patch=2, norm_groups=4, round_to=4, widths=(1, 0.5)),
    ),
    "continuous-unet": (ContinuousUNet, ContinuousUNetParams(channels=(8, 16), norm_groups=4, time_channels=16)),
    "uvit": (UViT, UViTParams(**TRANSFORMER, classes=3)),
    "dit": (DiT, DiTParams(**TRANSFORMER, preconditioning="vp")),
}
every = pytest.mark.parametrize("family", MADE)


def network(family: str = "unet") -> PreconditionedNetwork:
    """Return an untrained network in which every weight matters."""
    torch.manual_seed(0)
    made, params = MADE[family]
    built = made(params, DataShape(1, 8))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return built.eval().requires_grad_(False)


def params(**changes: Any) -> LevelTuningParams:
    return LevelTuningParams(**{"tune_steps": 3, "tune_batch": 8, "tune_objective": "data", **changes})


class Scaled(Analytic):
    """The exact denoiser times a scalar that learns; it is exact at 1."""

    def __init__(self, scale: float) -> None:
        generator = torch.Generator().manual_seed(4)
        facts = {"means": torch.randn(3, 4, generator=generator).tolist(), "stds": [0.2, 0.3, 0.4], "weights": [1] * 3}
        super().__init__(NetworkParams(), DataShape(1, 2, facts))
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.scale * super().forward(x, sigma)

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        return Edm(0.5).draws(shape, generator)

    def loss_of(self, images: Tensor, draws: Any) -> Tensor:
        raise AssertionError("the network's own loss is not asked for")

    def data_of(self, n: int, generator: torch.Generator) -> Tensor:
        """Return images [n, 1, 2, 2] of the mixture whose exact denoiser this is."""
        component = torch.randint(len(self.means), (n,), generator=generator)
        unit = torch.randn(n, 4, generator=generator, dtype=torch.float64)
        return (self.means[component] + self.variances[component].sqrt()[:, None] * unit).view(n, 1, 2, 2)


# Which levels are drawn.


def drawn(n: int, levels: np.ndarray = LEVELS, batch: int = 16, **changes: Any) -> Tensor:
    """Return the levels of n draws, batch by batch."""
    loss, generator = LevelLoss(network(), levels, params(**changes)), torch.Generator().manual_seed(0)
    return torch.cat([loss.draws((batch, 1, 8, 8), generator).sigma for _ in range(n // batch)])


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("weights", ["uniform", "v"])
def test_every_level_but_the_last_has_its_share_in_every_batch_and_in_all(steps: int, weights: str) -> None:
    levels = np.geomspace(20, 0.01, steps + 1)
    sigma = drawn(640, levels, tune_jitter=0, tune_weights=weights)
    assert sigma.dtype == torch.float64
    shares = -np.diff(levels) / (levels[0] - levels[-1]) if weights == "v" else np.full(steps, 1 / steps)
    counts = torch.stack([sigma == level for level in levels[:-1]]).long().cumsum(1)
    assert int(counts[:, -1].sum()) == 640  # bitwise, and no other level
    expected = torch.arange(1, 641) * torch.from_numpy(shares)[:, None]
    assert float((counts - expected).abs().max()) < 3
    by_batch = counts[:, 15::16].diff(dim=1) - 16 * torch.from_numpy(shares)[:, None]
    assert float(by_batch.abs().max()) < 3


@pytest.mark.parametrize("jitter", [0.0, 0.25, 1.0])
def test_a_share_of_the_draws_is_the_networks_own(jitter: float) -> None:
    sigma = drawn(3200, tune_jitter=jitter)
    anywhere = sigma[~torch.isin(sigma, torch.from_numpy(LEVELS))]
    assert len(anywhere) == 3200 * jitter
    if jitter:
        assert float(anywhere.log().mean()) == pytest.approx(-1.2, abs=0.2)
        assert float(anywhere.log().std()) == pytest.approx(1.2, abs=0.15)
    counts = [int((sigma == level).sum()) for level in LEVELS[:-1]]
    assert max(counts) - min(counts) <= 3


# The loss.


@every
def test_the_loss_is_edms_whatever_the_preconditioning(family: str) -> None:
    """lambda(s) |D - y|² by hand, for a network that is asked for no class; under EDM it is the network's own loss."""
    net, generator = network(family), torch.Generator().manual_seed(3)
    net.params = net.params.model_copy(update={"sigma_data": 0.5})
    images, noise = torch.rand(6, 1, 8, 8) * 2 - 1, torch.randn(6, 1, 8, 8, generator=generator)
    sigma = torch.tensor([10.0, 2, 2, 0.7, 0.7, 0.7], dtype=torch.float64)
    found = LevelLoss(net, LEVELS, params()).loss_of(images, Draws(sigma, noise)).item()
    by_hand = 0.0
    for y, s, n in zip(images, sigma, noise, strict=True):
        estimate = net((y + float(s) * n)[None], s[None])[0]
        by_hand += (float(s) ** 2 + 0.25) / (float(s) * 0.5) ** 2 * (estimate - y).square().mean().item() / 6
    assert found == pytest.approx(by_hand, rel=1e-5)
    own = net.preconditioning.loss(net.raw, images, Draws(sigma.float(), noise)).item()
    assert (found == pytest.approx(own, rel=1e-4)) == (net.params.preconditioning == "edm")


def test_the_weight_knows_the_networks_sigma_data() -> None:
    """Of a denoiser that answers 0 for images of ones, the error is lambda itself."""
    for sigma_data, built in ((0.5, Scaled(0.0)), (0.75, Scaled(0.0))):
        if sigma_data != 0.5:
            built.params = PreconditionedParams(sigma_data=sigma_data)
        sigma = torch.tensor([3.0, 0.1], dtype=torch.float64)
        errors = weighted_errors(built, torch.ones(2, 1, 2, 2).double(), Draws(sigma, torch.randn(2, 1, 2, 2).double()))
        for found, s in zip(errors[:, 0, 0, 0].tolist(), (3.0, 0.1), strict=True):
            assert found == pytest.approx(1 / s**2 + 1 / sigma_data**2, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.95, 1.05])
def test_an_exact_denoiser_has_no_gradient(scale: float) -> None:
    """Spec 7.3, 10: within Monte-Carlo error at 1, and far outside of it, pointing to 1, five per cent away."""
    net, generator, found = Scaled(scale), torch.Generator().manual_seed(0), []
    loss = LevelLoss(net, LEVELS, params(tune_jitter=0))
    for _ in range(100):
        images = net.data_of(200, generator)
        draws = loss.draws(tuple(images.shape), generator)
        value = loss.loss_of(images, Draws(draws.sigma, draws.noise.double()))
        found.append(torch.autograd.grad(value, net.scale)[0])
    each = torch.stack(found)
    deviations = float(each.mean() / (each.std() / len(each) ** 0.5))
    print(f"scale {scale}: {deviations:.1f} standard errors")
    assert abs(deviations) < 3 if scale == 1 else deviations * math.copysign(1, scale - 1) > 10


# Tuning.


def moved(net: nn.Module, weights: dict[str, Tensor]) -> dict[str, float]:
    return {name: (weights[name] - value).abs().max().item() for name, value in net.state_dict().items()}


@every
def test_no_steps_leave_the_weights_and_the_losses_to_the_bit(family: str) -> None:
    net = network(family)
    weights, facts = tune_at(ToyContext(net), LEVELS, params(tune_steps=0))
    assert list(weights) == list(net.state_dict())
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())
    for where in ("selected", "between"):
        assert facts[where]["loss_before"] == facts[where]["loss_after"]
    assert {value.data_ptr() for value in weights.values()}.isdisjoint(p.data_ptr() for p in net.parameters())


@every
def test_the_seed_decides_the_weights(family: str) -> None:
    """Bitwise, whatever torch's global generator holds, which is left as it was; the network is not touched."""
    net = network(family)
    before = copy.deepcopy(net.state_dict())
    first, facts = tune_at(ToyContext(net), LEVELS, params())
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, same = tune_at(ToyContext(net), LEVELS, params())
    assert torch.equal(torch.get_rng_state(), state)
    other, _ = tune_at(ToyContext(net, seed=1), LEVELS, params())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert facts == same
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    still = {name for name, distance in moved(net, first).items() if distance == 0}
    assert still == ({"pos_embed"} if family == "dit" else set())


def test_dropout_is_at_work_while_it_tunes() -> None:
    net, sizes = network(), MADE["unet"][1].model_copy(update={"dropout": 0.0})
    without = UNet(sizes, DataShape(1, 8))  # type: ignore[arg-type]
    without.load_state_dict(net.state_dict())
    first, second = (tune_at(ToyContext(n), LEVELS, params(tune_lr=1e-2))[0] for n in (net, without))
    assert max(moved(net, first).values()) > 0
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_it_goes_on_from_a_given_state_for_a_given_number_of_steps() -> None:
    net = network()
    first, _ = tune_at(ToyContext(net), LEVELS, params(tune_lr=1e-2))
    same, facts = tune_at(ToyContext(net), LEVELS, params(), from_state=first, steps=0)
    assert all(torch.equal(same[name], value) for name, value in first.items())
    tuned = copy.deepcopy(net)
    tuned.load_state_dict(first)
    onward, told = tune_at(ToyContext(tuned), LEVELS, params())
    given, twin = tune_at(ToyContext(net), LEVELS, params(tune_steps=50), from_state=first, steps=3)
    assert all(torch.equal(given[name], value) for name, value in onward.items())
    assert twin == told
    assert twin["selected"]["loss_before"] == facts["selected"]["loss_after"]


def test_facts_are_the_losses_of_what_was_and_what_came() -> None:
    net = network()
    context = ToyContext(net)
    weights, facts = tune_at(context, LEVELS, params(tune_lr=1e-2))
    assert facts["selected"]["levels"] == [10.0, 2.0, 0.7]
    assert facts["between"]["levels"] == pytest.approx([math.sqrt(20), math.sqrt(1.4), math.sqrt(0.014)])
    tuned = copy.deepcopy(net)
    tuned.load_state_dict(weights)
    clean = context.images()[torch.arange(128) * 40 // 128]
    noise = torch.stack([context.noise(k) for k in range(128)])
    for where in ("selected", "between"):
        for key, which in (("loss_before", net), ("loss_after", tuned)):
            for level, found in zip(facts[where]["levels"], facts[where][key], strict=True):
                sigma = torch.full((128,), level, dtype=torch.float64)
                expected = weighted_errors(which, clean, Draws(sigma, noise)).mean().item()
                assert found == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_no_number_is_an_error_in_a_sentence() -> None:
    net = network()
    with pytest.raises(HarnessError, match=r"^the tuning loss became (nan|inf) at step [12]; lower tune_lr$"):
        tune_at(ToyContext(net), LEVELS, params(tune_steps=30, tune_lr=1e30))


def test_what_cannot_be_tuned_says_why() -> None:
    exact = "the exact denoiser cannot be tuned: its gradient is zero"
    assert untunable_at_levels(NetworkParams()) == exact
    assert all(untunable_at_levels(sizes) is None for _, sizes in MADE.values())
    labelled = UViTParams(**TRANSFORMER, classes=3, null_class=False)
    assert "no embedding for no class" in (untunable_at_levels(labelled) or "")


def test_weights_keep_apart_from_other_tensors() -> None:
    weights = {"a.b": torch.ones(1), "network.c": torch.zeros(1)}
    stored = named_in_network(weights)
    assert list(stored) == ["network.a.b", "network.network.c"]
    assert weights_among({"levels": torch.ones(3), **stored}) == weights


def test_a_brief_tuning_lowers_the_loss_at_the_selected_levels() -> None:
    """Digits (spec 7.3, 10): at every selected level, and by more than as many steps of ordinary training lower it."""
    net, clean = digits_kit.briefly_trained()
    context = ToyContext(net, clean=clean)
    gains = {}
    for jitter in (0.0, 1.0):
        _, facts = tune_at(context, LEVELS, params(tune_steps=50, tune_batch=64, tune_lr=1e-3, tune_jitter=jitter))
        ratios = {
            where: np.array(facts[where]["loss_after"]) / facts[where]["loss_before"]
            for where in ("selected", "between")
        }
        print(f"jitter {jitter}: selected {ratios['selected'].round(3)}, between {ratios['between'].round(3)}")
        gains[jitter] = ratios["selected"]
    assert (gains[0.0] < 1).all()
    assert gains[0.0].mean() < gains[1.0].mean() - 0.01
