"""The alternation of the few-step sampler on a small network: what each phase is given, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from kit.toy_context import ToyContext
from torch import Tensor

from harness.training.preparation import Trainings
from methods.denoisers.few_step import FewStepDenoiser
from methods.denoisers.full import Full
from methods.networks.base import DataShape, Network, NetworkParams
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact
from methods.schedules.edm import EDM
from methods.schedules.few_step_rounds import Flow, RoundsParams, fid_at, left_ends, loaded, rounds_refusal, run_rounds
from methods.schedules.search.pair_costs import cheapest, gap_costs, landing_errors
from methods.schedules.search.teacher import log_grid, starts, walk
from methods.solvers.ddpm import DDPM
from methods.tuning.level_tuning import HELD_OUT, tune_at, weights_among

SIZES: dict[str, Any] = {"depth": 2, "width": 16, "heads": 2, "patch": 2}
STEPS, TRAJECTORIES = 3, 4
GRID = log_grid(8, 0.02, 10.0)
START = EDM().levels(STEPS, 0.02, 10.0)


@dataclass
class Scored(ToyContext):
    """A context whose FID is told beforehand, and which remembers the images and the noises that were asked for."""

    fids: Sequence[float] = ()
    scored: list[Tensor] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def fid(self, images: Tensor) -> float:
        self.scored.append(images)
        return self.fids[len(self.scored) - 1]

    def noise(self, index: int) -> Tensor:
        self.asked.append(index)
        return super().noise(index)


def context(*fids: float) -> Scored:
    torch.manual_seed(0)
    network = UViT(UViTParams(**SIZES), DataShape(1, 8))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return Scored(network.eval().requires_grad_(False), steps=STEPS, fids=fids)


def flow(of: ToyContext) -> Flow:
    return Flow(*walk(of.network, starts(of, 0, TRAJECTORIES), GRID, 2))


def params(**changes: Any) -> RoundsParams:
    return RoundsParams(
        **{
            "rounds": 2,
            "tune_steps": 5,
            "tune_batch": 8,
            "tune_lr": 1e-2,
            "metric_images": 70,
            "tune_trajectories": 6,
            **changes,
        }
    )


def on_grid(network: Network, costs: Tensor) -> np.ndarray:
    return GRID[cheapest(costs.mean(0).numpy(), STEPS)[-1]]


def equal(found: Any, expected: Any) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_teacher_at_its_own_states_answers_as_its_flow_did() -> None:
    here = context()
    mine = flow(here)
    assert torch.equal(left_ends(here.network, mine.states, GRID, here), mine.eps)
    other = loaded(here.network, {n: 1.1 * value for n, value in here.network.state_dict().items()})
    assert not torch.allclose(left_ends(other, mine.states, GRID, here), mine.eps, rtol=1e-3)


def test_trajectories_come_back_from_artifacts_in_their_order() -> None:
    mine = flow(context())
    blocks = [Flow(mine.states[:, part], mine.eps[:, part]) for part in (slice(0, 3), slice(3, 4))]
    artifacts = [Artifact({"costs": torch.zeros(1), **block.tensors()}) for block in blocks]
    assert [artifact.tensors["eps"].shape for artifact in artifacts] == [(3, 9, 64), (1, 9, 64)]
    back = Flow.joined(artifacts)
    assert back.states.dtype == torch.float64
    torch.testing.assert_close(back.states, mine.states, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(back.eps, mine.eps, rtol=1e-6, atol=1e-6)


def test_the_metric_is_of_eulers_images_on_noises_of_its_own() -> None:
    here = context(0.0)
    fid_at(here.network, START, here, 50, 70)
    assert sorted(set(here.asked)) == list(range(50, 120))
    (images,) = here.scored
    x = torch.stack([here.noise(50 + k) for k in range(70)]).double() * START[0]
    for s, s_next in pairwise(START):
        estimate = here.network(x.float(), torch.full((70,), s, dtype=torch.float64)).double()
        x = estimate + s_next / s * (x - estimate)
    torch.testing.assert_close(images, x.float(), rtol=1e-4, atol=1e-4)


def test_each_phase_is_given_what_the_other_made_and_the_frozen_network_stays_the_teacher() -> None:
    here, seen = context(9.0, 8.5, 8.0, 7.5, 7.0), list[tuple[Network, Tensor]]()
    mine, p = flow(here), params()
    grids = [START * [1, 0.9, 0.9, 1], START * [1, 0.8, 0.8, 1]]

    def choose(network: Network, costs: Tensor) -> np.ndarray:
        seen.append((network, costs))
        return grids[len(seen) - 1]

    levels, tensors, facts = run_rounds(here, mine, GRID, START, choose, p, first_noise=50)
    first, told = tune_at(here, grids[0], p, steps=2, first_noise=50 + 70)
    second, then = tune_at(here, grids[1], p, from_state=first, steps=3, first_noise=50 + 70 + 6 + HELD_OUT)
    assert equal(weights_among(tensors), second)
    assert levels.tobytes() == grids[1].tobytes()
    assert facts["tuning"] == [told, then]
    assert [r["fid"] for r in facts["phases"]] == [9.0, 8.5, 8.0, 7.5, 7.0]
    assert "returned" not in facts
    assert facts["fid"] == 7.0
    assert seen[0][0] is here.network
    assert torch.equal(seen[0][1], gap_costs(mine.eps, mine.eps, GRID))
    assert equal(seen[1][0].state_dict(), first)
    left = left_ends(loaded(here.network, first), mine.states, GRID, here)
    assert torch.equal(seen[1][1], landing_errors(mine.states, left, GRID))
    assert not torch.allclose(seen[1][1], seen[0][1], rtol=1e-3)


def test_rounds_draw_anew_and_a_preparation_that_begins_anew_draws_as_before() -> None:
    """Of two tunings from the same state at the same levels, so that nothing but their draws differs."""
    tuned = []
    for _ in range(2):
        here = context()
        here.trainings = Trainings(here.seed, torch.device("cpu"), lambda event: None)
        tuned.append([tune_at(here, START, params())[0] for _ in range(2)])
    (first, second), (first_again, second_again) = tuned
    assert not equal(first, second)
    assert equal(first, first_again)
    assert equal(second, second_again)


def test_tuning_that_is_undone_leaves_the_network_and_says_so_and_the_levels_stay() -> None:
    here = context(5.0, 4.0, 6.0)
    levels, tensors, facts = run_rounds(here, flow(here), GRID, START, on_grid, params(), first_noise=50)
    assert [(p["made"], p["kept"]) for p in facts["phases"]] == [("start", True), ("levels", True), ("weights", False)]
    assert levels.tolist() == facts["phases"][1]["levels"] != START.tolist()
    assert equal(weights_among(tensors), dict(here.network.state_dict()))
    assert (facts["returned"], facts["fid"]) == ("the untuned network", 4.0)


def test_a_second_tuning_that_is_undone_leaves_the_first_to_the_bit() -> None:
    here = context(5.0, 4.0, 3.0, 3.5, 6.0)
    levels, tensors, facts = run_rounds(here, flow(here), GRID, START, on_grid, params(), first_noise=50)
    kept = np.array(facts["phases"][1]["levels"])
    weights, _ = tune_at(here, kept, params(), steps=2, first_noise=50 + 70)
    assert levels.tobytes() == kept.tobytes()
    assert equal(weights_among(tensors), weights)
    assert "returned" not in facts
    assert facts["fid"] == 3.0


def test_the_denoiser_samples_with_the_weights_that_the_rounds_left() -> None:
    here = context(5.0, 4.5, 4.0, 3.5, 3.0)
    levels, tensors, _ = run_rounds(here, flow(here), GRID, START, on_grid, params(), first_noise=50)
    here.others = {"schedule": Artifact({"levels": torch.from_numpy(levels), **tensors})}
    built = FewStepDenoiser().build(here.network, FewStepDenoiser().prepare(here))
    assert equal(built.network.state_dict(), weights_among(tensors))  # type: ignore[attr-defined]


def refused(denoiser: Any, sizes: NetworkParams | None = None, **changes: Any) -> str:
    return rounds_refusal(RoundsParams(**changes), {"denoiser": denoiser}, sizes or UViTParams(**SIZES)) or ""


def test_what_makes_no_sense_is_refused_in_a_sentence() -> None:
    assert refused(Full()) == refused(FewStepDenoiser()) == refused(FewStepDenoiser(), rounds=2, tune_steps=9) == ""
    assert refused(Full(), tune_steps=9, metric_images=50) == (
        "rounds is 1, so nothing is tuned and tune_steps, metric_images would not be read"
    )
    assert refused(Full(), rounds=2) == (
        'rounds is 2, which tunes the network, but denoiser "full" would sample with the untuned one; '
        'take denoiser "few-step"'
    )
    assert "gradient is zero" in refused(FewStepDenoiser(), NetworkParams(), rounds=2)
    noisy = {"denoiser": FewStepDenoiser(), "solver": DDPM()}
    assert 'of a deterministic solver; take another than "ddpm"' in (
        rounds_refusal(RoundsParams(rounds=2), noisy, UViTParams(**SIZES)) or ""
    )
    schedule = SimpleNamespace(name="few-step", params=RoundsParams(rounds=2))
    assert "give tune_steps to it" in (
        FewStepDenoiser(tune_steps=9).refusal({"schedule": schedule}, STEPS, UViTParams(**SIZES)) or ""  # type: ignore[dict-item]
    )
