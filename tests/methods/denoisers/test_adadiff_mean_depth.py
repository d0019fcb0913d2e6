"""AdaDiff's mean-depth control: where its depths come from, what it runs, and what it costs beside the gate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_context import ToyContext
from kit.toy_gates import FAMILIES, SIGMA, first_under, gate, lively, states, tuned, work
from torch import Tensor

from harness.measure.flops import count_flops
from harness.sampling.call_counts import CallCounts
from harness.sampling.evaluator import Evaluator
from harness.sampling.noise import ImageNoise
from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.adadiff_uncertainty import Uncertainty, every_exit
from methods.networks.blocks import BlockNetwork
from methods.parts import Artifact, BuiltDenoiser, Sampled
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun

both = pytest.mark.parametrize("family", FAMILIES)
FEW = {"tune_steps": 3, "tune_batch": 4, "tune_lr": 1e-3}
NOISE = ImageNoise("toy", 0, (1, 8, 8), preparation=True).draw_initial(range(256))
"""Noises of the images of which the mean depths are taken."""


def with_depths(network: BlockNetwork, *steps: int) -> Artifact:
    """Return an artifact of the control whose depths are made up."""
    return Artifact(tuned(network).tensors, {"depths": list(steps)})


def control(network: BlockNetwork, **params: Any) -> tuple[Artifact, ToyContext]:
    """Return what the control's preparation leaves, and its context; parameters of the context go by their names."""
    given = {name: params.pop(name) for name in ("solver", "steps", "base_artifact", "clean") if name in params}
    context = ToyContext(network, **{"base_artifact": tuned(network), **given})
    return AdaDiff(rule="mean-depth", **params).prepare(context), context


@pytest.mark.parametrize("rule", ["per-image", "mean-depth"])
def test_work_is_the_sum_of_its_units(rule: str) -> None:
    """Without a gate a call is one unit, which each of the eight images runs."""
    network, x = lively("uvit", classes=2), states(torch.float32)
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
    steps, ran = torch.tensor([2, 0, 1, 1, 0, 2, 2, 0]), CallCounts()
    found = Evaluator(denoiser, ran)(x, SIGMA, steps)
    for i, step in enumerate(steps.tolist()):
        alone, _ = denoiser(x[i : i + 1], SIGMA[i : i + 1], step)
        torch.testing.assert_close(found[i : i + 1], alone, atol=1e-12, rtol=1e-12)
    assert ran.to_counts().units == {0: {"exit-1": 3}, 1: {"exit-7": 2}, 2: {"exit-4": 3}}


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
    context = Counted(network, base_artifact=tuned(network), units=units)
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
    artifact, context = control(network, base_artifact=start, theta=0.45, **FEW)
    assert set(artifact.tensors) == set(before)
    assert all(torch.equal(artifact.tensors[name], value) for name, value in before.items())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in own.items())
    assert context.told == []
    gated = context.sample(gate(network, start, theta=0.45), range(256), 64)
    left = [{int(name[5:]): n for name, n in gated.units[step].items()} for step in range(4)]
    assert artifact.facts["means"] == [sum(d * n for d, n in step.items()) / 256 for step in left]  # by those weights


@pytest.mark.parametrize(("family", "every"), [("uvit", 2), ("dit", 1)])
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
    assert control(network, theta=0, steps=2)[0].facts == {"depths": [7] * 2, "means": [7.0] * 2}
    assert control(network, theta=1)[0].facts == {"depths": [1] * 4, "means": [1.0] * 4}
    assert control(network, theta=1, first_test=3, steps=2)[0].facts == {"depths": [3] * 2, "means": [3.0] * 2}
    never = control(network, theta=1, first_test=9, steps=2)[0].facts
    assert never["depths"] == [7] * 2


def test_mean_depths_are_of_the_trials_solver_and_steps() -> None:
    """A multistep solver is DDIM for a step; Heun evaluates twice, and both evaluations of a step are of one depth."""
    network = lively("uvit").double()
    solvers = {"ddim": DDIM(), "dpmpp-2m": DPMPP2M(), "heun": Heun()}
    found = {name: control(network, theta=0.45, steps=5, solver=solver) for name, solver in solvers.items()}
    facts = {name: artifact.facts for name, (artifact, _) in found.items()}
    assert facts["ddim"]["means"][:2] == facts["dpmpp-2m"]["means"][:2]
    assert all(np.not_equal(facts["ddim"]["means"], facts["dpmpp-2m"]["means"])[2:])
    assert len({tuple(fact["depths"]) for fact in facts.values()}) == 3
    assert len(control(network, theta=0.45, steps=3)[0].facts["depths"]) == 3
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


def test_mean_depth_is_of_heads_that_see_the_noise_label_where_they_do() -> None:
    network = lively("uvit").double()
    start = tuned(network, concat=True)
    artifact, context = control(network, base_artifact=start, theta=0.45, uncertainty_time="concat")
    gated = context.sample(gate(network, start, theta=0.45, uncertainty_time="concat"), range(256), 64)
    means = [sum(int(name[5:]) * n for name, n in gated.units[step].items()) / 256 for step in range(4)]
    assert artifact.facts["means"] == means
    assert gate(network, artifact, rule="mean-depth", uncertainty_time="concat")(states(), SIGMA, 3)[1] == {
        f"exit-{halves_up(means)[3]}": 1
    }
