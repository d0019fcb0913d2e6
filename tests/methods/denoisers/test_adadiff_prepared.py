"""What AdaDiff's gates cost, how they are prepared, and what their uncertainty is worth on the digits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from kit.toy_context import ToyContext
from kit.toy_gates import FAMILIES, SIGMA, gate, lively, states, tuned, work
from sklearn.datasets import load_digits

from harness.measure.flops import count_flops
from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.adadiff_uncertainty import Uncertainty, every_exit
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork
from methods.networks.preconditioning import Draws
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact, BuiltDenoiser, Sampled
from methods.solvers.heun import Heun

both = pytest.mark.parametrize("family", FAMILIES)
FEW = {"tune_steps": 3, "tune_batch": 4, "tune_lr": 1e-3}


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
@pytest.mark.parametrize(("rule", "time"), [("per-image", "concat"), ("per-batch", "none")])
def test_work_of_a_batch_is_the_sum_of_its_units(family: str, rule: str, time: str) -> None:
    network, x = lively(family, classes=2), states(torch.float32)
    for theta in (0.45, 0.55):
        counted, summed = work(gate(network, theta=theta, rule=rule, uncertainty_time=time), x, SIGMA)
        assert counted == summed


def test_gates_share_a_preparation_and_controls_do_not() -> None:
    """What the control's depends on is all that the gate's trajectories depend on."""
    for rule in ("per-image", "per-batch"):
        method = AdaDiff(rule=rule)
        assert method.prepares_for == ()
        assert set(method.sampling_only) == {"theta", "rule", "first_test", "test_every"}
    static = AdaDiff(rule="mean-depth")
    assert set(static.prepares_for) == {"steps", "schedule", "solver"}
    assert static.sampling_only == ()


@pytest.mark.parametrize("rule", ["per-image", "per-batch", "mean-depth"])
def test_networks_that_cannot_be_tuned_are_all_that_is_refused(rule: str) -> None:
    sizes = {"depth": 6, "width": 16, "heads": 2, "patch": 2}
    for changes in ({}, {"theta": 0, "first_test": 9}, {"theta": 1, "test_every": 20}):
        method = AdaDiff(rule=rule, **changes)
        for _, params in FAMILIES.values():
            for asked in ({}, {"null_class": False}, {"classes": 3}):
                assert [method.refusal({}, steps, params(**sizes, **asked)) for steps in (1, 50)] == [None] * 2
            of_classes = params(**sizes, classes=3, null_class=False)
            refusal = "it tunes on images without their classes, and this network has no embedding for no class"
            assert method.refusal({}, 50, of_classes) == refusal


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
    assert set(tensors) == {f"network.{k}" for k in before} | heads
    assert set(artifact.facts) == {"loss", "coverage", "calibration"}
    learnt = {k for k in before if k not in network.fixed}
    assert {k for k in before if not torch.equal(tensors[f"network.{k}"], before[k])} >= learnt - {"label_emb.weight"}
    assert all(torch.equal(tensors[f"network.{k}"], before[k]) for k in network.fixed)
    assert not any(tensor.requires_grad for tensor in tensors.values())
    assert context.told[-1][:2] == (3, 3)
    assert np.isfinite(artifact.facts["loss"])
    static = AdaDiff(rule="mean-depth", theta=0.45).prepare(ToyContext(network, base_artifact=artifact))
    for rule, left in (("per-image", artifact), ("per-batch", artifact), ("mean-depth", static)):
        found, _ = gate(network, left, theta=0.45, rule=rule)(states(), SIGMA, 0)
        assert found.isfinite().all()


def test_preparation_is_the_same_for_one_seed_and_another_for_another() -> None:
    network = lively("uvit")
    first, again, other = (AdaDiff(**FEW).prepare(ToyContext(network, seed=seed)).tensors for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert changed >= {name for name in first if name.endswith("weight")}


class WithoutImages(ToyContext):
    """A context that makes no images."""

    def sample(self, denoiser: BuiltDenoiser, indices: range, batch: int) -> Sampled:
        raise AssertionError("images were asked for")


def test_preparation_of_a_gate_depends_neither_on_the_trial_nor_on_the_gate() -> None:
    """And it makes no images, which would depend on both."""
    network = lively("uvit")
    first = AdaDiff(**FEW).prepare(ToyContext(network))
    context = WithoutImages(network, steps=9, solver=Heun())
    again = AdaDiff(**FEW, theta=0.7, rule="per-batch", first_test=3, test_every=2).prepare(context)
    assert first.facts == again.facts
    assert set(first.tensors) == set(again.tensors)
    assert all(torch.equal(first.tensors[name], again.tensors[name]) for name in first.tensors)


@both
def test_preparation_asks_for_no_class_whatever_is_sampled(family: str) -> None:
    """Images come without their classes: of the table of classes the row for none learns, and no other."""
    plain = lively(family, classes=2)
    first = AdaDiff(**FEW).prepare(ToyContext(plain)).tensors
    table = {"uvit": "label_emb.weight", "dit": "y_embedder.embedding_table.weight"}[family]
    moved = (first[f"network.{table}"] != plain.state_dict()[table]).any(1)
    assert moved.tolist() == [False, False, True]


def test_preparation_keeps_the_number_format_of_the_network() -> None:
    artifact = AdaDiff(**FEW).prepare(ToyContext(lively("uvit").double()))
    assert all(value.dtype == torch.float64 for value in artifact.tensors.values())
    static = AdaDiff(rule="mean-depth").prepare(ToyContext(lively("uvit").double(), base_artifact=artifact))
    assert all(value.dtype == torch.float64 for value in static.tensors.values())


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

    thetas = [float(predicted[:, :-1].quantile(share)) for share in (0.25, 0.5, 0.75)]
    over_theta = torch.stack([mean_depths(theta=theta) for theta in (0, *thetas, 1)])
    assert (over_theta.mean(1).diff() < 0).all()
    for theta in thetas:
        by_level = mean_depths(theta=theta)
        assert by_level[-3:].mean() < by_level[:3].mean()  # few blocks near noise, many near the data
        context = ToyContext(network, base_artifact=artifact, clean=pixels[:1500], steps=8)
        static = AdaDiff(rule="mean-depth", theta=theta).prepare(context)
        assert static.facts["means"][0] < static.facts["means"][-1]
        dear, cheap = (
            context.sample(gate(network, left, theta=theta, rule=rule), range(256, 320), 64)  # images of their own
            for left, rule in ((artifact, "per-image"), (static, "mean-depth"))
        )
        assert cheap.flops == pytest.approx(dear.flops, rel=0.1)  # the same work, decided by the step alone
        assert (cheap.images - dear.images).square().mean() < 0.5 * pixels.var()


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
