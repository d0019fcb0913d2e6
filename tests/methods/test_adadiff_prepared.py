"""What AdaDiff costs, its mean-depth control, how it is prepared, and what its uncertainty is worth on the digits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from toy_context import ToyContext
from toy_gates import FAMILIES, SIGMA, depths, first_under, gate, lively, states, tuned, work

from harness.flops import count_flops
from methods.denoisers.adadiff import AdaDiff
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork
from methods.networks.preconditioning import Draws
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact
from methods.uncertainty import Uncertainty, every_exit

both = pytest.mark.parametrize("family", FAMILIES)


def measured(network: BlockNetwork) -> Artifact:
    """Return an artifact whose calibration is made up: three levels, four images."""
    blocks, high, low = network.n_blocks, 0.9, 0.1
    found = torch.full((3, 4, blocks - 1), high)
    found[0, 0, 3], found[0, 1, 1] = low, low  # (4, 2, N, N): 5 for 7 blocks, and 4.5 for 6
    found[1, :, 2:] = low  # (3, 3, 3, 3)
    found[2, :2, 0], found[2, 2:, 1] = low, 0.5  # under 0.4: (1, 1, N, N), 4 or 3.5; under 0.6: (1, 1, 2, 2)
    calibration = {"calibration.sigmas": torch.tensor([0.1, 1.0, 5.0]).double(), "calibration.uncertainties": found}
    return Artifact({**tuned(network).tensors, **calibration})


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("every", [1, 2])
def test_cost_of_each_exit_is_its_formula(classes: int, every: int) -> None:
    """In multiply-adds, for L tokens of width D: exits in encoder (1 to 3), middle (4) and decoder (5 to 7)."""
    network, x = lively("uvit", classes=classes), states(torch.float32)[:1]
    units = gate(network, test_every=every).units()
    patches, width, pixels = 16, 16, 4
    tokens = patches + (2 if classes else 1)
    block = 12 * width**2 * tokens + 2 * tokens**2 * width
    head, embedding = tokens * width * pixels + 9 * 64, patches * pixels * width
    for n in range(1, 8):
        merges, tests = max(0, n - 4) * 2 * width**2 * tokens, (min(n, 6) + every - 1) // every
        macs = n * block + merges + tests * patches * width * pixels + head + embedding
        assert count_flops(units[f"exit-{n}"], x, SIGMA[:1]) == 2 * macs


@both
@pytest.mark.parametrize("rule", ["per-image", "per-batch"])
@pytest.mark.parametrize("time", ["none", "concat"])
def test_work_of_a_batch_is_the_sum_of_its_units(family: str, rule: str, time: str) -> None:
    network, x = lively(family, classes=2, label=1), states(torch.float32)
    for theta in (0.45, 0.55):
        counted, summed = work(gate(network, theta=theta, rule=rule, uncertainty_time=time), x, SIGMA)
        assert counted == summed


@pytest.mark.parametrize("rule", ["per-image", "mean-depth"])
def test_guided_work_is_the_sum_of_its_units(rule: str) -> None:
    """Both passes of an image are paid for, once each."""
    network, x = lively("uvit", classes=2, label=1, guidance=3.0), states(torch.float32)
    counted, summed = work(gate(network, measured(network), theta=0.5, rule=rule), x, SIGMA)
    assert counted == summed


@both
def test_mean_depth_is_that_of_the_nearest_calibrated_level(family: str) -> None:
    network, x = lively(family).double(), states()
    n = network.n_blocks
    sigma = torch.tensor([0.01, 0.3, 0.33, 1.0, 2.2, 2.3, 5.0, 80.0], dtype=torch.float64)  # nearest in ln sigma
    for theta, near, far in ((0.4, 5, 4), (0.6, 5, 2)):
        denoiser = gate(network, measured(network), theta=theta, rule="mean-depth")
        found, units = denoiser(x, sigma, 0)
        assert depths(units).tolist() == [near, near, 3, 3, 3, far, far, far]
        for depth in depths(units).unique().tolist():
            forced, _ = gate(network, theta=1 if depth < n else 0, first_test=depth)(x, sigma, 0)
            rows = depths(units) == depth
            torch.testing.assert_close(found[rows], forced[rows], atol=1e-12, rtol=1e-12)


def test_mean_depth_saves_exactly_the_heads() -> None:
    network, x = lively("uvit"), states(torch.float32)
    with_heads, without = (gate(network, measured(network), theta=0.4, rule=r) for r in ("per-image", "mean-depth"))
    assert set(without.units()) == {"exit-3", "exit-4", "exit-5"}
    for name, call in without.units().items():
        heads = min(int(name[5:]), 6) * 16 * 16 * 4
        dear = count_flops(with_heads.units()[name], x[:1], SIGMA[:1])
        assert dear - count_flops(call, x[:1], SIGMA[:1]) == 2 * heads
    counted, summed = work(without, x, SIGMA)
    assert counted == summed


def test_mean_depth_asks_the_tested_blocks_alone() -> None:
    network, sigma = lively("uvit"), torch.full((8,), 0.1).double()
    denoiser = gate(network, measured(network), theta=0.4, rule="mean-depth", first_test=2, test_every=2)
    assert depths(denoiser(states(), sigma, 0)[1]).tolist() == [5] * 8  # (4, 2, 7, 7)
    denoiser = gate(network, measured(network), theta=0.4, rule="mean-depth", first_test=3)
    assert depths(denoiser(states(), sigma, 0)[1]).tolist() == [6] * 8  # (4, 7, 7, 7): 6.25


FEW = {"tune_steps": 3, "tune_batch": 4, "tune_lr": 1e-3}


@both
def test_preparation_leaves_what_building_needs(family: str) -> None:
    network = lively(family, classes=2)
    before, chance = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    context = ToyContext(network)
    artifact = AdaDiff(**FEW).prepare(context)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())  # a copy was tuned
    assert not any(p.requires_grad for p in network.parameters())
    assert torch.equal(torch.get_rng_state(), chance)
    blocks, tensors = network.n_blocks, artifact.tensors
    heads = {f"heads.heads.{i}.{name}" for i in range(blocks) for name in ("weight", "bias")}
    calibration = {"calibration.sigmas", "calibration.uncertainties"}
    assert set(tensors) == {f"network.{k}" for k in before} | heads | calibration
    learnt = {k for k in before if k not in network.fixed}
    assert {k for k in before if not torch.equal(tensors[f"network.{k}"], before[k])} >= learnt - {"label_emb.weight"}
    assert all(torch.equal(tensors[f"network.{k}"], before[k]) for k in network.fixed)
    assert not any(tensor.requires_grad for tensor in tensors.values())
    assert tensors["calibration.uncertainties"].shape == (32, 40, blocks - 1)  # levels, images, blocks
    assert ((tensors["calibration.uncertainties"] > 0) & (tensors["calibration.uncertainties"] < 1)).all()
    sigmas = tensors["calibration.sigmas"]
    assert (sigmas.diff() > 0).all()
    torch.testing.assert_close(sigmas[[0, -1]], torch.tensor([0.02, 10.0]).double())
    assert context.told[-1][:2] == (3, 3)
    assert np.isfinite(artifact.facts["loss"])
    for rule in ("per-image", "per-batch", "mean-depth"):
        found, _ = gate(network, artifact, theta=0.45, rule=rule)(states(), SIGMA, 0)
        assert found.isfinite().all()


def test_preparation_is_the_same_for_one_seed_and_another_for_another() -> None:
    network = lively("uvit")
    first, again, other = (AdaDiff(**FEW).prepare(ToyContext(network, seed=seed)).tensors for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert changed >= {name for name in first if name.endswith("weight")}


def test_preparation_calibrates_on_at_most_64_images() -> None:
    context = ToyContext(lively("uvit"), clean=torch.rand(70, 1, 8, 8) * 2 - 1)
    artifact = AdaDiff(**FEW | {"tune_steps": 1}).prepare(context)
    assert artifact.tensors["calibration.uncertainties"].shape == (32, 64, 6)


def test_preparation_keeps_the_number_format_of_the_network() -> None:
    artifact = AdaDiff(**FEW).prepare(ToyContext(lively("uvit").double()))
    assert all(value.dtype == torch.float64 for value in artifact.tensors.values())


@pytest.mark.parametrize("time", ["none", "concat"])
def test_calibration_holds_what_the_gate_decides_by(time: str) -> None:
    """Each level's noised training images leave where the calibration says."""
    network = lively("uvit")
    context = ToyContext(network)
    artifact = AdaDiff(**FEW, uncertainty_time=time).prepare(context)
    clean, met = context.images(), artifact.tensors["calibration.uncertainties"]
    noise = torch.stack([context.noise(i) for i in range(40)])
    for level in (0, 11, 31):
        sigma = artifact.tensors["calibration.sigmas"][level].repeat(40)
        near = met[level].flatten().sort().values
        theta = float(near[100] + near[101]) / 2
        sure = ((met[level] - theta).abs() > 1e-5).all(1)
        x = clean + sigma[:, None, None, None].float() * noise
        units = gate(network, artifact, theta=theta, uncertainty_time=time)(x, sigma, 0)[1]
        found = sum(int(name[5:]) * torch.as_tensor(count) for name, count in units.items())
        assert torch.equal(found[sure], first_under(met[level], theta)[sure])
        assert sure.sum() > 30


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("every", [1, 2])
def test_gate_waits_for_the_device_once_per_tested_block(every: int) -> None:
    network, x = lively("uvit"), states(torch.float32).cuda()
    denoiser = gate(network.cuda(), Artifact(tuned(lively("uvit")).tensors), theta=0, test_every=every)
    denoiser(x, SIGMA, 0)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            denoiser(x, SIGMA, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [w for w in caught if "synchroniz" in str(w.message)]
    assert 0 < len(waits) <= 6 // every


@pytest.mark.slow
def test_uncertainty_follows_the_error_on_the_digits() -> None:
    """A short training, a short tuning; then only what any sound gate must show, on digits held out."""
    torch.manual_seed(0)
    pixels = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    params = UViTParams(depth=6, width=32, heads=4, patch=2, sigma_data=0.75, p_mean=-1.0, p_std=1.4, time_scale=400)
    network, generator = UViT(params, DataShape(1, 8)), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(250):
        loss = network.loss(pixels[torch.randint(1500, (64,), generator=generator)], generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval().requires_grad_(False)
    context = ToyContext(network, sigma_min=0.02, sigma_max=20, clean=pixels[:1500])
    artifact = AdaDiff(tune_steps=250, tune_batch=32, uncertainty_lr=3e-3).prepare(context)
    held_out, noise = pixels[1500:1628], torch.randn(128, 1, 8, 8, generator=generator)
    sigmas = torch.logspace(np.log10(0.02), np.log10(20), 10, dtype=torch.float64)
    found = [_calibration(network, artifact, held_out, noise, float(sigma)) for sigma in sigmas]
    predicted, met = torch.stack([f[0] for f in found]), torch.stack([f[1] for f in found])  # [levels, blocks, images]
    for u, error in zip(predicted.mean(2).T, met.mean(2).T, strict=True):
        assert torch.corrcoef(torch.stack([u, error]))[0, 1] > 0.5

    def mean_depths(**params: object) -> torch.Tensor:
        denoiser = gate(network, artifact, **params)
        at = [(sigma.repeat(128), held_out + float(sigma) * noise) for sigma in sigmas]
        units = [denoiser(x, sigma, 0)[1] for sigma, x in at]
        return torch.tensor(
            [sum(int(n[5:]) * float(torch.as_tensor(c).expand(128).sum()) for n, c in u.items()) / 128 for u in units]
        )

    met_in_tuning = artifact.tensors["calibration.uncertainties"].flatten()
    thetas = [float(met_in_tuning.quantile(share)) for share in (0.25, 0.5, 0.75)]
    over_theta = torch.stack([mean_depths(theta=theta) for theta in (0, *thetas, 1)])
    assert (over_theta.mean(1).diff() < 0).all()
    for theta in thetas:
        by_level = mean_depths(theta=theta)
        assert by_level[-3:].mean() < by_level[:3].mean()  # few blocks near noise, many near the data
        static = mean_depths(theta=theta, rule="mean-depth")  # the same work, decided by the level alone
        assert abs(float(static.mean() - by_level.mean())) < 0.6


@torch.no_grad()
def _calibration(
    network: BlockNetwork, artifact: Artifact, clean: torch.Tensor, noise: torch.Tensor, sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean u and mean tanh|error of the noise| after every block [blocks, images]."""
    copied, heads = UViT(network.params, network.data), Uncertainty(network, False)
    for module, start in ((copied, "network."), (heads, "heads.")):
        module.load_state_dict({k.removeprefix(start): v for k, v in artifact.tensors.items() if k.startswith(start)})
    asked = copied.preconditioning.regression(clean, Draws(torch.full((len(clean),), sigma), noise))
    outputs, certainties = every_exit(copied.eval(), heads, asked.scaled, asked.label)
    errors = (asked.in_noise * (outputs - asked.target)).abs().tanh()
    return (1 - certainties).flatten(2).mean(2), errors.flatten(2).mean(2)
