"""AdaDiff's losses and heads: by hand, by gradient, and against what the sampler computes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from kit.toy_context import ToyContext

from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.adadiff_uncertainty import Losses, Uncertainty, every_exit, layer_losses, losses
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork
from methods.networks.dit import DiT, DiTParams
from methods.networks.preconditioning import Draws
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact, BuiltDenoiser

FAMILIES = {"uvit": (UViT, UViTParams), "dit": (DiT, DiTParams)}


def lively(family: str, **changes: Any) -> BlockNetwork:
    """Return an untrained network in which every weight matters."""
    made, params = FAMILIES[family]
    network = made(params(**{"depth": 4, "width": 16, "heads": 2, "patch": 2, **changes}), DataShape(1, 8))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def heads_of(network: BlockNetwork, concat: bool = False) -> Uncertainty:
    """Return heads whose certainties differ by row and block."""
    heads = Uncertainty(network, concat)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return heads.to(next(network.parameters()).dtype)


def draws(rows: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, Draws]:
    """Return clean images, and one level and noise for each."""
    generator = torch.Generator().manual_seed(9)
    images = torch.rand((rows, 1, 8, 8), generator=generator, dtype=dtype) * 2 - 1
    noise = torch.randn(images.shape, generator=generator, dtype=dtype)
    return images, Draws(torch.logspace(-1.5, 1, rows, dtype=dtype), noise)


def by_hand() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return outputs, certainties, target and factor of two layers, one image of two pixels."""
    outputs = torch.tensor([[1.0, 3.0], [1.5, 2.0]]).reshape(2, 1, 1, 1, 2)
    certainties = torch.tensor([[0.2, 0.4], [0.9, 0.9]]).reshape(2, 1, 1, 1, 2)
    return outputs, certainties, torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2), torch.full((1, 1, 1, 1), 2.0)


def test_two_layers_of_two_pixels_by_hand() -> None:
    """Errors are (0, 1) and (0.5, 0); doubled they are errors of the noise."""
    found = layer_losses(*by_hand())
    wanted = [1.0, 1 - math.tanh(2), 1 - math.tanh(1), 1.0]
    regression = sum((c - t) ** 2 for c, t in zip([0.2, 0.4, 0.9, 0.9], wanted, strict=True)) / 4
    assert found.simple.item() == pytest.approx(0.125)
    assert found.weights.tolist() == pytest.approx([0.25, 0.75])
    assert found.layers.item() == pytest.approx(0.25 * 0.5 + 0.75 * 0.125)
    assert found.uncertainty.item() == pytest.approx(regression)


def test_batch_is_averaged_and_its_weights_are_shared() -> None:
    """Two images of different certainty: w is of the batch, every loss a mean over it."""
    outputs, certainties, target, factor = by_hand()
    both = torch.cat([outputs, outputs + 1], dim=1)
    certain = torch.cat([certainties, certainties / 2], dim=1)
    found = layer_losses(both, certain, target.repeat(2, 1, 1, 1), factor.repeat(2, 1, 1, 1))
    assert found.weights.tolist() == pytest.approx([0.25, 0.75])  # (0.3, 0.9) and half of it
    # errors of the second image: (1, 2) and (1.5, 1)
    assert found.simple.item() == pytest.approx((0.125 + 1.625) / 2)
    assert found.layers.item() == pytest.approx((0.25 * (0.5 + 2.5) + 0.75 * (0.125 + 1.625)) / 2)


def test_targets_carry_no_gradient() -> None:
    outputs, certainties, target, factor = by_hand()
    outputs.requires_grad_(True)
    found = layer_losses(outputs, certainties.requires_grad_(True), target, factor)
    of_outputs, of_certainties = torch.autograd.grad(found.uncertainty, [outputs, certainties], allow_unused=True)
    assert of_outputs is None
    wanted = 1 - (2 * (outputs - target)).abs().tanh().detach()
    torch.testing.assert_close(of_certainties, (certainties - wanted) / 2)


def test_weights_of_layers_sum_to_one_and_are_equal_for_equal_certainties() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, certainties = (torch.rand((5, 3, 1, 4, 4), generator=generator) for _ in range(2))
    target, factor = torch.rand((3, 1, 4, 4), generator=generator), torch.ones(3, 1, 1, 1)
    assert layer_losses(outputs, certainties, target, factor).weights.sum().item() == pytest.approx(1)
    equal = layer_losses(outputs, torch.full_like(certainties, 0.3), target, factor)
    assert equal.weights.tolist() == pytest.approx([0.2] * 5)
    assert equal.layers.item() == pytest.approx(((outputs - target) ** 2).mean().item())


def test_exact_outputs_want_certainty_one_and_cost_nothing() -> None:
    target, certain = torch.randn(3, 1, 4, 4), torch.ones(5, 3, 1, 4, 4)
    for c in (1.0, 0.25):
        found = layer_losses(target.expand(5, -1, -1, -1, -1), c * certain, target, torch.ones(3, 1, 1, 1))
        assert (found.simple.item(), found.layers.item()) == (0, 0)
        assert found.uncertainty.item() == (1 - c) ** 2


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_what_they_should(family: str) -> None:
    network = lively(family)
    heads = heads_of(network)
    backbone = {n: p for n, p in network.named_parameters() if n not in network.fixed}

    def grads(name: str, of: Any, teach: str = "network") -> list[torch.Tensor | None]:
        value = getattr(losses(network, heads, *draws(3), teach), name)
        return list(torch.autograd.grad(value, list(of), allow_unused=True))

    assert all(g is None for g in grads("uncertainty", backbone.values()))
    assert all(g is not None and g.any() for g in grads("uncertainty", heads.parameters()))
    assert all(g is None for g in grads("simple", heads.parameters()))
    assert all(g is None for g in grads("layers", heads.parameters()))
    assert all(g is not None and g.any() for g in grads("layers", heads.parameters(), "both"))  # w is not detached
    for name in ("simple", "layers"):
        assert all(g is not None and g.isfinite().all() for g in grads(name, backbone.values()))


def test_layers_reach_heads_through_their_weights_alone() -> None:
    """With w detached nothing is left, for neither inputs nor outputs of the heads are in the errors."""
    network = lively("uvit")
    heads, (images, (sigma, noise)) = heads_of(network), draws(3)
    asked = network.preconditioning.regression(images, Draws(sigma, noise))
    outputs, certainties = every_exit(network, heads, asked.scaled, asked.label)
    found = layer_losses(outputs, certainties, asked.target, asked.in_noise, "both")
    squares = ((outputs - asked.target) ** 2).flatten(1).mean(1)
    assert found.layers.item() == pytest.approx((found.weights * squares).sum().item())
    detached = (found.weights.detach() * squares).sum()
    assert all(g is None for g in torch.autograd.grad(detached, list(heads.parameters()), allow_unused=True))


def forced(network: BlockNetwork, heads: Uncertainty, depth: int) -> BuiltDenoiser:
    """Return the sampler's denoiser whose images all leave after block `depth`, counted from 1."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"heads.{k}": v for k, v in heads.state_dict().items()}
    theta = 1 if depth < network.n_blocks else 0
    return AdaDiff(theta=theta, first_test=depth).build(network, Artifact(tensors))


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_reading_every_exit_is_the_plain_forward_and_each_forced_exit(family: str) -> None:
    network = lively(family).double()
    heads, (images, (sigma, noise)) = heads_of(network), draws(4, torch.float64)
    asked = network.preconditioning.regression(images, Draws(sigma, noise), torch.float64)
    outputs, _ = every_exit(network, heads, asked.scaled, asked.label)
    assert len(outputs) == network.n_blocks
    torch.testing.assert_close(outputs[-1], network.raw(asked.scaled, asked.label), atol=1e-12, rtol=0)
    x = images + sigma.reshape(-1, 1, 1, 1) * noise
    for depth, output in enumerate(outputs, 1):
        expected = network.denoised(lambda scaled, label, e=output: e, x, sigma)
        found, units = forced(network, heads, depth)(x, sigma, 0)
        assert units[f"exit-{depth}"].tolist() == [1] * 4
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert (outputs[:-1] - outputs[1:]).abs().amax((1, 2, 3, 4)).min() > 1e-3  # exits do differ


@torch.no_grad()
def test_conditional_network_is_read_off_without_a_class() -> None:
    """Whichever class it samples."""
    network, scaled, label = lively("uvit", classes=3), torch.randn(2, 1, 8, 8), torch.tensor([0.1, 0.4])
    without = network.raw(scaled, label)
    network.row_classes = torch.tensor([0, 1])
    outputs, _ = every_exit(network, heads_of(network), scaled, label)
    torch.testing.assert_close(outputs[-1], without, atol=1e-5, rtol=0)


@torch.no_grad()
def test_heads_see_the_noise_label_in_concat_mode_alone() -> None:
    network = lively("uvit")
    tokens, labels = torch.randn(1, 16, 16).expand(2, -1, -1), torch.tensor([0.0, 1.5])
    without, concat = heads_of(network), heads_of(network, concat=True)
    assert torch.equal(*without.certainty(2, tokens, labels))
    assert (torch.sub(*concat.certainty(2, tokens, labels))).abs().min() > 0
    assert sum(p.numel() for p in without.parameters()) == 5 * (16 * 4 + 4)
    assert sum(p.numel() for p in concat.parameters()) == 5 * (2 * 16 * 4 + 4)


@torch.no_grad()
def test_fresh_heads_are_half_certain_and_means_are_those_of_the_image() -> None:
    network = lively("uvit")
    tokens, label = torch.randn(3, 16, 16), torch.zeros(3)
    assert (Uncertainty(network, False).mean(0, tokens, label) - 0.5).abs().max() < 0.05
    heads = heads_of(network)
    image = heads.image(heads.certainty(1, tokens, label))
    assert image.shape == (3, 1, 8, 8)
    torch.testing.assert_close(heads.mean(1, tokens, label), 1 - image.mean((1, 2, 3)))
    patch = heads.certainty(1, tokens, label)[:, 6].unflatten(1, (2, 2))  # second row of patches, third column
    assert torch.equal(image[:, 0, 2:4, 4:6], patch)


@torch.no_grad()
@pytest.mark.parametrize("preconditioning", ["edm", "vp"])
def test_errors_that_heads_learn_are_those_of_the_noise(preconditioning: str) -> None:
    """Against D itself: the predicted noise is (x - D) / sigma, its error (D - y) / sigma."""
    network = lively("uvit", preconditioning=preconditioning).double()
    heads, (images, (sigma, noise)) = heads_of(network), draws(5, torch.float64)
    level = sigma.reshape(-1, 1, 1, 1)
    x = images + level * noise
    asked = network.preconditioning.regression(images, Draws(sigma, noise), torch.float64)
    outputs, certainties = every_exit(network, heads, asked.scaled, asked.label)
    denoised = torch.stack([network.denoised(lambda s, t, e=e: e, x, sigma) for e in outputs])
    direct = ((x - denoised) / level - noise).abs()
    torch.testing.assert_close(asked.in_noise * (outputs - asked.target).abs(), direct, atol=1e-11, rtol=0)
    found = losses(network.float(), heads.float(), images.float(), Draws(sigma.float(), noise.float()))
    wanted = 1 - direct.tanh()
    assert found.uncertainty.item() == pytest.approx(((certainties - wanted) ** 2).mean().item(), rel=1e-4)


@torch.no_grad()
def test_losses_of_a_float64_network_are_float64() -> None:
    network, (images, drawn) = lively("uvit").double(), draws(5, torch.float64)
    found = losses(network, heads_of(network), images, drawn)
    assert found.simple.item() == pytest.approx(network.loss_of(images, drawn).item(), rel=1e-12)


def test_tuning_weighs_the_three_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss that `prepare` reports after one step is simple + a uncertainty + b layers."""
    parts = [torch.tensor(value, requires_grad=True) for value in (1.0, 10.0, 100.0)]
    monkeypatch.setattr("methods.denoisers.adadiff.losses", lambda *_: Losses(*parts, torch.ones(5) / 5))
    method = AdaDiff(tune_steps=1, tune_batch=2, uncertainty_weight=0.5, layers_weight=2)
    context = ToyContext(lively("uvit"))
    assert method.prepare(context).facts["loss"] == pytest.approx(1 + 5 + 200)
    assert context.told[-1][:2] == (1, 1)
