"""The denoiser "few-step": weights tuned for the trial's levels, where they come from, and what is refused."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kit.toy_context import ToyContext

from harness.registry import registry
from methods.denoisers.few_step import FewStepDenoiser
from methods.denoisers.full import Full
from methods.networks.base import DataShape, NetworkParams
from methods.networks.continuous_unet import ContinuousUNetParams
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact
from methods.schedules.arctan import Arctan
from methods.schedules.edm import EDM
from methods.solvers.ddpm import DDPM
from methods.tuning.level_tuning import LevelTuningParams, named_in_network, tune_at

SIZES: dict[str, Any] = {"depth": 2, "width": 16, "heads": 2, "patch": 2}
BRIEF: dict[str, Any] = {"tune_steps": 3, "tune_batch": 8, "tune_lr": 1e-2}


def network(**changes: Any) -> UViT:
    """Return an untrained network in which every weight matters."""
    torch.manual_seed(0)
    built = UViT(UViTParams(**SIZES, **changes), DataShape(1, 8))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return built.eval().requires_grad_(False)


def equal(found: Any, expected: Any) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


def test_it_is_found_under_its_name_and_says_what_it_is() -> None:
    method = registry().make("denoiser", "few-step", {})
    assert isinstance(method, FewStepDenoiser)
    assert "reconstruction of Huang 2024" in method.summary
    assert method.prepares
    assert method.prepares_for == ("steps", "schedule", "solver")  # whose own step it is tuned on
    assert FewStepDenoiser(tune_objective="data").prepares_for == ("steps", "schedule")
    assert method.sampling_only == ("compiled",)


def test_without_steps_it_is_the_full_network_bit_for_bit() -> None:
    net = network()
    method = FewStepDenoiser(tune_steps=0)
    mine, whole = method.build(net, method.prepare(ToyContext(net))), Full().build(net)
    found, expected = (ToyContext(net).sample(built, range(6), 3) for built in (mine, whole))
    assert torch.equal(found.images, expected.images)
    assert (found.flops, found.units) == (expected.flops, expected.units)
    assert set(found.units[0]) == {"network"}


@pytest.mark.parametrize(("schedule", "steps"), [(EDM(), 2), (EDM(), 3), (Arctan(), 3)])
def test_it_is_tuned_at_the_levels_of_its_trial(schedule: Any, steps: int) -> None:
    net = network()
    context = ToyContext(net, schedule=schedule, steps=steps)
    artifact = FewStepDenoiser(**BRIEF).prepare(context)
    levels = schedule.levels(steps, context.sigma_min, context.sigma_max)
    weights, facts = tune_at(context, levels, LevelTuningParams(**BRIEF))
    assert equal(artifact.tensors, weights)
    assert artifact.facts == {"tuned_by": "denoiser", **facts}
    assert artifact.facts["selected"]["levels"] == levels[:-1].tolist()


def test_sampling_reads_the_tuned_weights_and_asks_at_the_levels_alone() -> None:
    """In eval mode and without gradients, and neither by the network's own weights nor by a copy that shares them."""
    net = network()
    before, context = copy.deepcopy(net.state_dict()), ToyContext(net)
    method = FewStepDenoiser(**BRIEF)
    artifact = method.prepare(context)
    built = method.build(net, artifact)
    inner = built.network  # type: ignore[attr-defined]
    assert not inner.training
    assert not any(parameter.requires_grad for parameter in inner.parameters())
    expected = network()
    expected.load_state_dict(dict(artifact.tensors))
    x, sigma = torch.randn(5, 1, 8, 8), torch.full((5,), 0.5, dtype=torch.float64)
    found, units = built(x, sigma, 0)
    assert torch.equal(found, expected(x, sigma))
    assert not torch.equal(found, net(x, sigma))
    assert units == {"network": 1}
    assert equal(net.state_dict(), before)
    asked: set[float] = set()
    inner.register_forward_pre_hook(lambda module, given: asked.update(given[1].tolist()))
    context.sample(built, range(2), 2)
    assert asked == set(context.levels()[:-1].tolist()) == set(artifact.facts["selected"]["levels"])


def test_weights_of_an_alternation_are_taken_as_they_are() -> None:
    """And levels without weights are not an alternation."""
    net, weights = network(), {name: torch.randn_like(value) for name, value in network().state_dict().items()}
    levels = torch.from_numpy(EDM().levels(4, 0.02, 10.0))
    left = Artifact({"levels": levels, **named_in_network(weights)})
    artifact = FewStepDenoiser().prepare(ToyContext(net, others={"schedule": left}))
    assert equal(artifact.tensors, weights)
    assert artifact.facts == {"tuned_by": "schedule"}
    sampled = FewStepDenoiser().build(net, artifact).network  # type: ignore[attr-defined]
    assert equal(sampled.state_dict(), weights)
    plain = FewStepDenoiser(**BRIEF).prepare(ToyContext(net, others={"schedule": Artifact({"levels": levels})}))
    assert equal(plain.tensors, FewStepDenoiser(**BRIEF).prepare(ToyContext(net)).tensors)


def refused(network: NetworkParams, schedule: Any = None, **params: Any) -> str:
    parts = {} if schedule is None else {"schedule": schedule}
    return FewStepDenoiser(**params).refusal(parts, 4, network) or ""


def test_what_makes_no_sense_is_refused_in_a_sentence() -> None:
    assert refused(UViTParams(**SIZES)) == ""
    assert refused(NetworkParams()) == "the exact denoiser cannot be tuned: its gradient is zero"
    assert "no embedding for no class" in refused(UViTParams(**SIZES, classes=3, null_class=False))
    adaptive = ContinuousUNetParams(channels=(8,), norm_groups=4, ode_solver="dopri5", tolerance=1e-3)
    assert "depends on its input" in refused(adaptive)
    sizes = UViTParams(**SIZES)
    assert 'solver "ddpm" draws noise and follows no trajectory' in (
        FewStepDenoiser().refusal({"solver": DDPM()}, 4, sizes) or ""
    )
    assert FewStepDenoiser(tune_objective="data").refusal({"solver": DDPM()}, 4, sizes) is None
    assert refused(sizes, tune_weights="v") == ('tune_objective "trajectory" does not read tune_weights; leave it out')
    assert refused(sizes, tune_objective="data", tune_trajectories=9) == (
        'tune_objective "data" does not read tune_trajectories; leave it out'
    )


def test_parameters_that_an_alternation_would_not_read_are_refused() -> None:
    once, twice = (SimpleNamespace(name="few-step", params=SimpleNamespace(rounds=n)) for n in (1, 2))
    sizes = UViTParams(**SIZES)
    for schedule in (once, EDM()):
        assert refused(sizes, schedule, tune_steps=5, tune_jitter=0.1) == ""
    assert refused(sizes, twice, compiled=True) == ""
    assert refused(sizes, twice, tune_steps=5, tune_jitter=0.1) == (
        'schedule "few-step" of several rounds tunes the network itself; give tune_steps, tune_jitter to it'
    )
