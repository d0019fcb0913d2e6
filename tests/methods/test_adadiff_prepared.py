"""What AdaDiff costs, its mean-depth control, how it is prepared, and what its uncertainty is worth on the digits."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from toy_context import ToyContext
from toy_gates import FAMILIES, SIGMA, first_under, gate, lively, states, tuned, work

from harness.flops import count_flops
from harness.sampling import Evaluator, Work
from harness.seeds import ImageNoise
from methods.denoisers.adadiff import AdaDiff
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork
from methods.networks.preconditioning import Draws
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact, BuiltDenoiser, Sampled
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun
from methods.uncertainty import Uncertainty, every_exit

both = pytest.mark.parametrize("family", FAMILIES)
NOISE = ImageNoise("toy", 0, (1, 8, 8), preparation=True).initial(range(256))
"""Noises of the images of which the mean depths are taken."""


def with_depths(network: BlockNetwork, *steps: int) -> Artifact:
    """Return an artifact of the control whose depths are made up."""
    return Artifact(tuned(network).tensors, {"depths": list(steps)})


def control(network: BlockNetwork, **params: Any) -> tuple[Artifact, ToyContext]:
    """Return what the control's preparation leaves, and its context; parameters of the context go by their names."""
    asked = {name: params.pop(name) for name in ("solver", "steps", "start", "clean") if name in params}
    context = ToyContext(network, **{"start": tuned(network), **asked})
    return AdaDiff(rule="mean-depth", **params).prepare(context), context


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
    """Both passes of an image are paid for, once each; without a gate they are one unit, which each image runs."""
    network, x = lively("uvit", classes=2, label=1, guidance=3.0), states(torch.float32)
    counted, summed = work(gate(network, with_depths(network, 3), theta=0.5, rule=rule), x, SIGMA)
    assert counted == (8 if rule == "mean-depth" else 1) * summed


@both
def test_mean_depth_is_that_of_the_step_whatever_the_level(family: str) -> None:
    network, x = lively(family).double(), states()
    n = network.n_blocks
    table = (1, n, 4, 1)
    denoiser = gate(network, with_depths(network, *table), theta=0.4, rule="mean-depth")
    for step, depth in enumerate(table):
        found, units = denoiser(x, SIGMA, step)
        assert units == {f"exit-{depth}": 1}
        forced, _ = gate(network, theta=1 if depth < n else 0, first_test=depth)(x, SIGMA, 0)
        torch.testing.assert_close(found, forced, atol=1e-12, rtol=1e-12)


def test_rows_of_different_steps_leave_at_the_depths_of_theirs() -> None:
    network, x = lively("uvit").double(), states()
    denoiser = gate(network, with_depths(network, 1, 7, 4), rule="mean-depth")
    steps, ran = torch.tensor([2, 0, 1, 1, 0, 2, 2, 0]), Work()
    found = Evaluator(denoiser, ran)(x, SIGMA, steps)
    for i, step in enumerate(steps.tolist()):
        alone, _ = denoiser(x[i : i + 1], SIGMA[i : i + 1], step)
        torch.testing.assert_close(found[i : i + 1], alone, atol=1e-12, rtol=1e-12)
    assert ran.facts()["units"] == {"0": {"exit-1": 3}, "1": {"exit-7": 2}, "2": {"exit-4": 3}}


def test_mean_depth_saves_exactly_the_heads() -> None:
    network, x = lively("uvit"), states(torch.float32)
    artifact = with_depths(network, 5, 3, 4, 5)
    with_heads, without = (gate(network, artifact, theta=0.4, rule=r) for r in ("per-image", "mean-depth"))
    assert set(without.units()) == {"exit-3", "exit-4", "exit-5"}
    for name, call in without.units().items():
        heads = min(int(name[5:]), 6) * 16 * 16 * 4
        dear = count_flops(with_heads.units()[name], x[:1], SIGMA[:1])
        assert dear - count_flops(call, x[:1], SIGMA[:1]) == 2 * heads
    counted, of_one = work(without, x, SIGMA)
    assert counted == 8 * of_one


@both
def test_mean_depth_reads_no_head_and_no_block_after_it(family: str) -> None:
    network, x = lively(family).double(), states()
    last = {"uvit": "network.out_blocks.2.", "dit": "network.blocks.5."}[family]
    artifact = with_depths(network, 3)
    spoilt = {k: v * float("nan") if k.startswith(("heads.", last)) else v for k, v in artifact.tensors.items()}
    assert sum(v.isnan().any().item() for v in spoilt.values()) > 2 * network.n_blocks
    found, _ = gate(network, Artifact(spoilt, artifact.facts), rule="mean-depth")(x, SIGMA, 0)
    expected, _ = gate(network, artifact, rule="mean-depth")(x, SIGMA, 0)
    assert torch.equal(found, expected)


@torch.no_grad()
def walked(network: BlockNetwork, theta: float, tested: Sequence[int], steps: int) -> Tensor:
    """Return where each of the preparation's images leaves under DDIM [steps, images], read off without a gate."""
    heads = Uncertainty(network, False).double()
    heads.load_state_dict({k[6:]: v for k, v in tuned(network).tensors.items() if k.startswith("heads.")})
    sigmas, found, everyone = EDM().levels(steps, 0.02, 10.0), [], torch.arange(256)
    x = NOISE * float(sigmas[0])
    for now, then in pairwise(sigmas.tolist()):
        sigma = torch.full((256,), now, dtype=torch.float64)
        c = network.preconditioning.coefficients(sigma)
        outputs, certainties = every_exit(network, heads, c.scale.reshape(-1, 1, 1, 1) * x, c.noise)
        u = 1 - certainties[:-1].flatten(2).mean(2).T
        u[:, [i for i in range(u.shape[1]) if i + 1 not in tested]] = 2
        found.append(first_under(u, theta))
        left = outputs[found[-1] - 1, everyone]
        denoised = network.denoised(lambda scaled, label, left=left: left, x, sigma)
        x = then / now * x + (1 - then / now) * denoised
    return torch.stack(found)


def halves_up(means: Sequence[float]) -> list[int]:
    return [int(np.floor(mean + 0.5)) for mean in means]


@both
@pytest.mark.parametrize(("tests", "theta"), [({}, 0.4), ({"first_test": 2, "test_every": 2}, 0.38)])
def test_mean_depths_are_those_of_the_gate_along_its_own_trajectory(
    family: str, tests: dict[str, int], theta: float
) -> None:
    """Means and depths, against images that were read off every exit without a gate, along their own DDIM."""
    network = lively(family).double()
    artifact, _ = control(network, theta=theta, steps=5, **tests)
    tested = range(tests.get("first_test", 1), network.n_blocks, tests.get("test_every", 1))
    means = walked(network, theta, tested, 5).double().mean(1).tolist()
    assert artifact.facts["means"] == pytest.approx(means, rel=1e-12)
    assert artifact.facts["depths"] == halves_up(means)
    assert len(set(artifact.facts["depths"])) > 1  # steps differ
    assert any(abs(mean - round(mean)) > 0.2 for mean in means)  # and so do images


def test_mean_depths_of_guided_images_are_of_both_halves() -> None:
    """Against the gate on one image at a time."""
    network = lively("uvit", classes=2, label=1, guidance=3.0).double()
    artifact, _ = control(network, theta=0.5, steps=2)
    denoiser, sigmas = gate(network, theta=0.5), EDM().levels(2, 0.02, 10.0)
    left = np.zeros((2, 8))
    for x in (NOISE * float(sigmas[0])).split(1):
        for step, (now, then) in enumerate(pairwise(sigmas.tolist())):
            denoised, units = denoiser(x, torch.tensor([now], dtype=torch.float64), step)
            x = then / now * x + (1 - then / now) * denoised
            left[step] += [int(units[f"exit-{n}"]) if n else 0 for n in range(8)]
    assert left.sum(1).tolist() == [512, 512]
    means = (left @ np.arange(8) / 512).tolist()
    assert artifact.facts["means"] == pytest.approx(means, rel=1e-12)
    assert artifact.facts["depths"] == halves_up(means)


@dataclass
class Counted(ToyContext):
    """A context whose images have all run what they are said to have run, and which remembers what was asked."""

    units: dict[int, dict[str, int]] = field(default_factory=dict)
    asked: list[tuple[range, int]] = field(default_factory=list)

    def sample(self, denoiser: BuiltDenoiser, indices: range, batch: int) -> Sampled:
        self.asked.append((indices, batch))
        return Sampled(torch.zeros(len(indices), 1, 8, 8), 0.0, self.units)


def test_halves_round_up_and_steps_are_in_their_order() -> None:
    network = lively("uvit")
    units = {step: {"exit-2": 12 - step, "exit-3": step, "exit-7": 0} for step in reversed(range(12))}
    context = Counted(network, start=tuned(network), units=units)
    facts = AdaDiff(rule="mean-depth").prepare(context).facts
    assert context.asked == [(range(256), 64)]
    assert facts["means"] == pytest.approx([2 + step / 12 for step in range(12)])
    assert facts["depths"] == [2] * 6 + [3] * 6
    assert json.loads(json.dumps(facts)) == facts


@both
def test_mean_depth_keeps_the_weights_that_it_starts_from(family: str) -> None:
    """It tunes nothing: it does not even look at the training images."""
    network = lively(family)
    start = AdaDiff(**FEW).prepare(ToyContext(network))
    own = {name: value.clone() for name, value in network.state_dict().items()}
    before = {name: value.clone() for name, value in start.tensors.items()}
    artifact, context = control(network, start=start, theta=0.45, **FEW)
    assert set(artifact.tensors) == set(before)
    assert all(torch.equal(artifact.tensors[name], value) for name, value in before.items())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in own.items())
    assert context.told == []
    gated = context.sample(gate(network, start, theta=0.45), range(256), 64)
    left = [{int(name[5:]): n for name, n in gated.units[step].items()} for step in range(4)]
    assert artifact.facts["means"] == [sum(d * n for d, n in step.items()) / 256 for step in left]  # by those weights


@pytest.mark.parametrize("every", [1, 2])
@both
def test_work_of_mean_depth_is_the_gates_but_for_heads_and_rounding(family: str, every: int) -> None:
    """Where all blocks cost the same the difference is exact; in a U-ViT the later ones merge a skip, too."""
    network = lively(family)
    n = network.n_blocks
    params: dict[str, Any] = {"theta": 0.45, "test_every": every}
    artifact, context = control(network, **params)
    gated = context.sample(gate(network, **params), range(256), 64)
    static = context.sample(gate(network, artifact, rule="mean-depth", **params), range(256), 64)
    assert static.units == {step: {f"exit-{depth}": 256} for step, depth in enumerate(artifact.facts["depths"])}
    plain = gate(network, first_test=n).units()  # no block is tested
    price = [count_flops(plain[f"exit-{d}"], states(torch.float32)[:1], SIGMA[:1]) for d in range(1, n + 1)]
    assert static.flops == sum(price[depth - 1] for depth in artifact.facts["depths"])
    block, merge = price[1] - price[0], price[-1] - price[-2] - (price[1] - price[0])
    assert (merge > 0) == (family == "uvit")
    tests = [(min(d, n - 1) + every - 1) // every for d in range(n + 1)]
    asked = sum(tests[int(name[5:])] * count for step in gated.units.values() for name, count in step.items()) / 256
    assert asked > 4
    rounding = sum(np.subtract(artifact.facts["means"], artifact.facts["depths"])) * block
    difference = gated.flops - asked * 2 * 16 * 16 * 4 - static.flops
    assert difference == pytest.approx(rounding, abs=4 * 2 * merge + 1e-3)
    assert abs(rounding) <= 4 * block / 2
    assert abs(difference) < 0.1 * static.flops


def test_mean_depth_at_both_ends_of_theta() -> None:
    network = lively("uvit")
    assert control(network, theta=0)[0].facts == {"depths": [7] * 4, "means": [7.0] * 4}
    assert control(network, theta=1)[0].facts == {"depths": [1] * 4, "means": [1.0] * 4}
    assert control(network, theta=1, first_test=3, steps=2)[0].facts == {"depths": [3] * 2, "means": [3.0] * 2}
    never = control(network, theta=1, first_test=9)[0].facts
    assert never["depths"] == [7] * 4


def test_mean_depths_are_of_the_trials_solver_and_steps() -> None:
    """A multistep solver is DDIM for a step; Heun evaluates twice, and both evaluations of a step are of one depth."""
    network = lively("uvit").double()
    solvers = {"ddim": DDIM(), "dpmpp-2m": DPMPP2M(), "heun": Heun()}
    found = {name: control(network, theta=0.45, steps=5, solver=solver) for name, solver in solvers.items()}
    facts = {name: artifact.facts for name, (artifact, _) in found.items()}
    assert facts["ddim"]["means"][:2] == facts["dpmpp-2m"]["means"][:2]
    assert all(np.not_equal(facts["ddim"]["means"], facts["dpmpp-2m"]["means"])[2:])
    assert len({tuple(fact["depths"]) for fact in facts.values()}) == 3
    assert len(control(network, theta=0.45, steps=7)[0].facts["depths"]) == 7
    artifact, context = found["heun"]
    ran = context.sample(gate(network, artifact, rule="mean-depth"), range(3), 2).units
    assert ran == {step: {f"exit-{depth}": 6} for step, depth in enumerate(artifact.facts["depths"])}


def test_mean_depth_begins_with_the_gate_of_its_parameters() -> None:
    changes = {"theta": 0.3, "first_test": 2, "test_every": 3, "tune_steps": 7, "uncertainty_time": "concat"}
    static = AdaDiff(rule="mean-depth", **changes)
    base = static.begins_with()
    assert isinstance(base, AdaDiff)
    assert base.params == AdaDiff(**changes).params
    assert base.begins_with() is None
    assert AdaDiff(rule="per-batch").begins_with() is None


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
            for asked in ({}, {"null_class": False}, {"classes": 3}, {"classes": 3, "label": 1, "guidance": 2.0}):
                assert [method.refusal({}, steps, params(**sizes, **asked)) for steps in (1, 50)] == [None] * 2
            of_classes = params(**sizes, classes=3, label=1, null_class=False)
            refusal = "it tunes on images without their classes, and this network has no embedding for no class"
            assert method.refusal({}, 50, of_classes) == refusal


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
    assert set(tensors) == {f"network.{k}" for k in before} | heads
    assert set(artifact.facts) == {"loss"}
    learnt = {k for k in before if k not in network.fixed}
    assert {k for k in before if not torch.equal(tensors[f"network.{k}"], before[k])} >= learnt - {"label_emb.weight"}
    assert all(torch.equal(tensors[f"network.{k}"], before[k]) for k in network.fixed)
    assert not any(tensor.requires_grad for tensor in tensors.values())
    assert context.told[-1][:2] == (3, 3)
    assert np.isfinite(artifact.facts["loss"])
    static, _ = control(network, start=artifact, theta=0.45)
    for rule, left in (("per-image", artifact), ("per-batch", artifact), ("mean-depth", static)):
        found, _ = gate(network, left, theta=0.45, rule=rule)(states(), SIGMA, 0)
        assert found.isfinite().all()


def test_preparation_is_the_same_for_one_seed_and_another_for_another() -> None:
    network = lively("uvit")
    first, again, other = (AdaDiff(**FEW).prepare(ToyContext(network, seed=seed)).tensors for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert changed >= {name for name in first if name.endswith("weight")}


def test_preparation_of_a_gate_depends_neither_on_the_trial_nor_on_the_gate() -> None:
    """And it makes no images, which would depend on both."""
    network = lively("uvit")
    first = AdaDiff(**FEW).prepare(ToyContext(network))
    context = Counted(network, steps=9, solver=Heun())
    again = AdaDiff(**FEW, theta=0.7, rule="per-batch", first_test=3, test_every=2).prepare(context)
    assert context.asked == []
    assert first.facts == again.facts
    assert set(first.tensors) == set(again.tensors)
    assert all(torch.equal(first.tensors[name], again.tensors[name]) for name in first.tensors)


@both
def test_preparation_asks_for_no_class_whatever_is_sampled(family: str) -> None:
    """Images come without their classes: of the table of classes the row for none learns, and no other."""
    plain, asked = (lively(family, classes=2, **changes) for changes in ({}, {"label": 1, "guidance": 3.0}))
    first, again = (AdaDiff(**FEW).prepare(ToyContext(network)).tensors for network in (plain, asked))
    assert all(torch.equal(first[name], again[name]) for name in first)
    table = {"uvit": "label_emb.weight", "dit": "y_embedder.embedding_table.weight"}[family]
    moved = (first[f"network.{table}"] != plain.state_dict()[table]).any(1)
    assert moved.tolist() == [False, False, True]


def test_preparation_keeps_the_number_format_of_the_network() -> None:
    artifact = AdaDiff(**FEW).prepare(ToyContext(lively("uvit").double()))
    assert all(value.dtype == torch.float64 for value in artifact.tensors.values())
    static, _ = control(lively("uvit").double(), start=artifact)
    assert all(value.dtype == torch.float64 for value in static.tensors.values())


def test_mean_depth_is_of_heads_that_see_the_noise_label_where_they_do() -> None:
    network = lively("uvit").double()
    start = tuned(network, concat=True)
    artifact, context = control(network, start=start, theta=0.45, uncertainty_time="concat")
    gated = context.sample(gate(network, start, theta=0.45, uncertainty_time="concat"), range(256), 64)
    means = [sum(int(name[5:]) * n for name, n in gated.units[step].items()) / 256 for step in range(4)]
    assert artifact.facts["means"] == means
    assert gate(network, artifact, rule="mean-depth", uncertainty_time="concat")(states(), SIGMA, 3)[1] == {
        f"exit-{halves_up(means)[3]}": 1
    }


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
        static, context = control(network, start=artifact, clean=pixels[:1500], steps=8, theta=theta)
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
