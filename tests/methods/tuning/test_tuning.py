"""Tuning before the first image: averages, rates, determinism, and what early exit makes of it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kit.toy_context import ToyContext
from torch import Tensor, nn

from harness.errors import HarnessError
from methods.denoisers.early_exit import EarlyExit
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.dit import DiT, DiTParams
from methods.networks.preconditioning import Draws
from methods.networks.uvit import UViT, UViTParams
from methods.tuning.tune import TuningParams, thawed, tune, untunable

FAMILIES: dict[str, tuple[type[BlockNetwork], type[BlockParams]]] = {
    "uvit": (UViT, UViTParams),
    "dit": (DiT, DiTParams),
}
both = pytest.mark.parametrize("family", FAMILIES)
ITS_OWN: dict[str, Any] = {"tune_levels": "training", "tune_steps": 1, "tune_batch": 1}
"""A step at levels that the network draws itself."""


def network(family: str = "uvit", **changes: Any) -> BlockNetwork:
    """Return an untrained VP network in which every weight matters; DiT's own initial weights give 0."""
    torch.manual_seed(0)
    made, params = FAMILIES[family]
    sizes = {"depth": 6, "width": 16, "heads": 2, "patch": 2, "preconditioning": "vp", **changes}
    built = made(params(**sizes), DataShape(1, 8))
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name not in built.fixed:
                parameter += 0.05 * torch.randn(parameter.shape)
    return built.eval().requires_grad_(False)


def tuned(
    built: BlockNetwork, rates: dict[str, float] | None = None, seed: int = 0, **changes: Any
) -> dict[str, Tensor]:
    """Return the averaged weights of a short tuning by the network's own loss."""
    p = TuningParams(**{"tune_steps": 3, "tune_batch": 4, **changes})
    student = thawed(built)
    return tune(student, student, student.loss_of, ToyContext(built, seed=seed), p, rates or {})[0]


def distances(built: BlockNetwork, weights: dict[str, Tensor]) -> dict[str, float]:
    """Return how far each weight has moved."""
    return {name: (weights[name] - value).abs().max().item() for name, value in built.state_dict().items()}


@both
def test_same_seed_same_weights(family: str) -> None:
    """Bitwise, whatever torch's global generator holds; another seed gives others."""
    built = network(family)
    first = tuned(built)
    torch.manual_seed(99)
    again, other = tuned(built), tuned(built, seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_at_rate_0_the_average_is_the_student() -> None:
    built = network()
    student = thawed(built)
    p = TuningParams(tune_steps=3, tune_batch=4, tune_ema=0.0)
    weights, _ = tune(student, student, student.loss_of, ToyContext(built), p, {})
    assert all(torch.equal(weights[name], value) for name, value in student.state_dict().items())
    lagging = distances(built, tuned(built, tune_ema=0.98))
    assert 0 < max(lagging.values()) < max(distances(built, weights).values())


def test_the_network_itself_is_left_as_it_was() -> None:
    built = network()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    tuned(built)
    assert all(torch.equal(before[name], value) for name, value in built.state_dict().items())
    assert not built.training
    assert not any(parameter.requires_grad for parameter in built.parameters())


@both
def test_weights_that_never_learnt_stay(family: str) -> None:
    """DiT's position code is fixed, U-ViT's is learnt like everything else."""
    built = network(family)
    moved = distances(built, tuned(built))
    assert {name for name, distance in moved.items() if distance == 0} == set(built.fixed)
    assert ("pos_embed" in built.fixed) == (family == "dit")


@both
def test_what_is_tuned_is_asked_for_no_class(family: str) -> None:
    built = network(family, classes=3)
    weights = tuned(built)
    table = {"uvit": "label_emb.weight", "dit": "y_embedder.embedding_table.weight"}[family]
    assert (weights[table] != built.state_dict()[table]).any(1).tolist() == [False, False, False, True]


@both
def test_early_exit_tunes_without_classes_and_samples_with_them(family: str) -> None:
    built = network(family, classes=3)
    method = EarlyExit(schedule="full", tune_steps=3, tune_batch=4)
    artifact = method.prepare(ToyContext(built))
    expected = network(family, classes=3)
    expected.load_state_dict(dict(artifact.tensors))
    denoiser, x, sigma = method.build(built, artifact), torch.randn(5, 1, 8, 8), torch.full((5,), 0.5).double()
    nothing = denoiser(x, sigma, 0)[0]
    built.row_classes = expected.row_classes = torch.tensor([0, 1, 2, 3, 1])  # the tuned copy has them too
    found = denoiser(x, sigma, 0)[0]
    assert torch.equal(found, expected(x, sigma))
    assert not torch.equal(found, nothing)


@both
def test_a_network_with_classes_and_none_for_no_class_is_untunable(family: str) -> None:
    params = FAMILIES[family][1]
    sizes: dict[str, Any] = {"depth": 6, "width": 16, "heads": 2, "patch": 2}
    for asked in ({}, {"null_class": False}, {"classes": 3}):
        assert untunable(params(**sizes, **asked)) is None
    assert untunable(params(**sizes, classes=3, null_class=False)) == (
        "it tunes on images without their classes, and this network has no embedding for no class"
    )


def test_rates_go_by_the_start_of_a_name() -> None:
    """AdamW's first step moves each weight by its rate, whatever the gradient."""
    built = network()
    rates = {"mid_block.": 3e-2, "out_blocks.1": 1e-5, "out_": 1e-4}
    moved = distances(built, tuned(built, rates, tune_steps=1, tune_lr=1e-3, tune_ema=0.0))
    for name, distance in moved.items():
        expected = next((rate for start, rate in rates.items() if name.startswith(start)), 1e-3)
        assert distance == pytest.approx(expected, rel=0.02), name


def test_the_rate_falls_to_zero_along_a_cosine() -> None:
    """Under a constant gradient AdamW moves by its rate at every step: here the sum of the rates."""
    weight = nn.Linear(1, 1, bias=False)
    before = weight.weight.item()
    p = TuningParams(tune_steps=40, tune_batch=1, tune_lr=1e-2, tune_ema=0.0)
    built = network()
    context = ToyContext(built)
    found, _ = tune(weight, built, lambda images, draws: weight.weight.sum(), context, p, {})
    total = sum(0.5e-2 * (1 + math.cos(math.pi * step / 40)) for step in range(40))
    assert before - found["weight"].item() == pytest.approx(total, rel=1e-3)
    done, of, note = context.told[-1]
    assert (done, of) == (40, 40)
    assert note.startswith("loss ")
    assert "left" in context.told[0][2]


def test_a_loss_that_is_no_number_is_an_error_that_names_the_rate() -> None:
    built = network()
    student = thawed(built)
    p = TuningParams(tune_steps=30, tune_batch=4)
    with pytest.raises(HarnessError, match=r"^the tuning loss became nan at step 0; lower tune_lr$"):
        tune(student, student, lambda i, d: student.loss_of(i, d) * math.nan, ToyContext(built), p, {})
    with pytest.raises(HarnessError, match="lower tune_lr"):
        EarlyExit(tune_steps=30, tune_batch=4, tune_lr=1e30).prepare(ToyContext(built))


def test_flips_mirror_about_half_of_the_images() -> None:
    built, seen = network(), list[Tensor]()
    clean = torch.zeros(8, 1, 8, 8)
    clean[..., 0] = 1  # the left column

    def loss(images: Tensor, draws: Draws) -> Tensor:
        seen.append(images)
        return student.loss_of(images, draws)

    for flips in (False, True):
        seen.clear()
        student = thawed(built)
        p = TuningParams(tune_steps=2, tune_batch=200, tune_flips=flips)
        tune(student, student, loss, ToyContext(built, clean=clean), p, {})
        mirrored = torch.cat(seen)[:, 0, 0, -1].mean().item()
        assert mirrored == pytest.approx(0.5, abs=0.1) if flips else mirrored == 0


@both
def test_no_parameter_is_added(family: str) -> None:
    """A checkpoint of the network loads strictly into what was tuned, and the other way round."""
    built = network(family)
    method = EarlyExit(tune_steps=1, tune_batch=4)
    artifact = method.prepare(ToyContext(built))
    assert list(artifact.tensors) == list(built.state_dict())
    sampled = method.build(built, artifact).network  # type: ignore[attr-defined]
    sampled.load_state_dict(built.state_dict(), strict=True)
    network(family).load_state_dict(dict(artifact.tensors), strict=True)


def first_batch(built: BlockNetwork, context: ToyContext, rows: int) -> tuple[Tensor, Draws]:
    """Return the images and draws of the first tuning step."""
    generator = torch.Generator().manual_seed(context.seed)
    clean = context.images()[torch.randint(len(context.images()), (rows,), generator=generator)]
    return clean, built.draws(tuple(clean.shape), generator)


@both
def test_tuning_starts_at_the_networks_own_loss(family: str) -> None:
    """Bitwise at full depth, weighted or not; under a schedule, for rows whose interval runs all blocks."""
    built = network(family)
    for seed in range(4):
        context = ToyContext(built, seed=seed)
        own = built.loss_of(*first_batch(built, context, 8)).item()
        for weight in (0.0, 3.0):
            method = EarlyExit(schedule="full", time_weight=weight, **{**ITS_OWN, "tune_batch": 8})
            assert method.prepare(context).facts["loss"] == own
    kept = 0
    for seed in range(12):
        context = ToyContext(built, seed=seed)
        clean, draws = first_batch(built, context, 1)
        found = EarlyExit(schedule="strong", **ITS_OWN).prepare(context).facts["loss"]
        near_data = bool(built.diffusion_time(draws.sigma.double()) < 0.2)
        assert (found == built.loss_of(clean, draws).item()) == near_data
        kept += near_data
    assert 0 < kept < 12


def test_time_weights_favour_what_runs_less_and_have_mean_one() -> None:
    built, context = network(), ToyContext(network(), seed=3)
    clean, draws = first_batch(built, context, 16)
    table = EarlyExit(schedule="strong").table(built.exits)
    depths = EarlyExit(schedule="strong").depths(built, {}).at(draws.sigma)
    asked = built.preconditioning.regression(clean, draws)
    errors = (built.raw(asked.scaled, asked.label, depths) - asked.target).square().mean((1, 2, 3))
    weights = torch.tensor([1 + 2 * (3 - depth) / 3 for depth in table])
    by_row = (1 + 2 * (3 - depths) / 3) / weights.mean()
    method = EarlyExit(schedule="strong", time_weight=2.0, **{**ITS_OWN, "tune_batch": 16})
    assert method.prepare(context).facts["loss"] == pytest.approx((errors * by_row).mean().item(), rel=1e-5)


@both
def test_sampling_reads_the_average(family: str) -> None:
    """What `prepare` left, and neither the network's own weights nor a copy that shares them."""
    built, x = network(family), torch.randn(5, 1, 8, 8)
    before = {name: value.clone() for name, value in built.state_dict().items()}
    method = EarlyExit(schedule="full", tune_steps=3, tune_batch=4, tune_lr=1e-2)
    artifact = method.prepare(ToyContext(built))
    torch.testing.assert_close(dict(built.state_dict()), before, rtol=0, atol=0)
    expected = network(family)
    expected.load_state_dict(dict(artifact.tensors))
    sigma = torch.full((5,), 0.5, dtype=torch.float64)
    sampled = method.build(built, artifact)(x, sigma, 0)[0]
    assert torch.equal(sampled, expected(x, sigma))
    assert not torch.equal(sampled, built(x, sigma))
    assert artifact.facts["table"] == list(method.table(built.exits))


def test_only_tuning_needs_preparation() -> None:
    assert EarlyExit().prepares
    assert not EarlyExit(tune_steps=0).prepares
    assert EarlyExit(tune_steps=0, reverse=True).prepares
    assert EarlyExit.sampling_only == ("compiled",)


def loss_by_depths(built: BlockNetwork, images: Tensor, table: tuple[int, ...]) -> float:
    """Return the mean loss over ten equal intervals of time, each at its depth."""
    generator, process = torch.Generator().manual_seed(5), built.preconditioning.process  # type: ignore[attr-defined]
    losses = []
    with torch.no_grad():
        for i, depth in enumerate(table):
            times = (i + torch.rand(len(images), generator=generator, dtype=torch.float64)) / 10
            noise = torch.randn(images.shape, generator=generator)
            asked = built.preconditioning.regression(images, Draws(process.sigma(times.clamp(min=1e-3)), noise))
            found = built.raw(asked.scaled.float(), asked.label.float(), depth)
            losses.append((found - asked.target).square().mean().item())
    return sum(losses) / len(losses)


@pytest.mark.slow
def test_tuning_mends_what_the_schedule_breaks_and_time_matters() -> None:
    """Digits: untuned exits ruin the network, tuned ones come back, and the same depths in reversed time do worse."""
    from sklearn.datasets import load_digits

    digits = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    torch.manual_seed(0)
    built = UViT(UViTParams(depth=6, width=32, heads=2, patch=2, preconditioning="vp"), DataShape(1, 8))
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(built.parameters(), lr=3e-3, weight_decay=0.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    for _ in range(500):
        optimizer.zero_grad()
        built.loss(digits[torch.randint(1500, (64,), generator=generator)], generator).backward()
        nn.utils.clip_grad_norm_(built.parameters(), 1.0)
        optimizer.step()
        cosine.step()
    built.eval().requires_grad_(False)
    context, test = ToyContext(built, clean=digits[:1500]), digits[1500:]
    found = SimpleNamespace(full=loss_by_depths(built, test, (3,) * 10))
    table = EarlyExit(schedule="strong").table(built.exits)
    for name, depths in (("forward", table), ("backward", table[::-1])):
        method = EarlyExit(schedule=depths, tune_steps=300, tune_batch=64, tune_lr=2e-3)
        found.untuned = loss_by_depths(built, test, depths)
        weights = method.build(built, method.prepare(context)).network  # type: ignore[attr-defined]
        setattr(found, name, loss_by_depths(weights, test, depths))
        assert found.untuned > 2 * getattr(found, name), found
        assert getattr(found, name) < 1.1 * found.full, found
    assert found.forward < 0.98 * found.backward, found  # 0.134 and 0.141 when written; 0.138 at full depth
