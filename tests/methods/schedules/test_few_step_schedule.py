"""The schedule few-step: what its jobs are, what it chooses from, and what the guard keeps it from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from kit.few_step_kit import HIGH, LOW, ONE, Diagonal, mixture
from kit.toy_context import ToyContext
from pydantic import ValidationError

from harness.registry import registry
from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, Done
from methods.schedules.few_step import FewStepSchedule, euler_end_error
from methods.schedules.search.hand_made import hand_made
from methods.schedules.search.pair_costs import cheapest, path_cost
from methods.schedules.search.teacher import log_grid, starts, walk

POWER_LAW = Diagonal([1 / (1 + k) for k in range(16)], 4)
SMALL = {"grid": 24, "noises": 8, "validation": 6}


def context(network: Network = POWER_LAW, steps: int = 4, **given: Any) -> ToyContext:
    return ToyContext(network, sigma_min=LOW, sigma_max=HIGH, steps=steps, **given)


def done(method: FewStepSchedule, at: ToyContext) -> list[Done]:
    return [Done(job, method.do(at, job)) for job in method.next_jobs(at.steps, NetworkParams(), [])]


def prepared(at: ToyContext, **params: Any) -> Artifact:
    method = FewStepSchedule(**{**SMALL, **params})
    at.done = done(method, at)
    return method.prepare(at)


# Jobs.


def test_jobs_cover_every_noise_once_and_validation_has_its_own() -> None:
    jobs = FewStepSchedule(noises=70, validation=40).next_jobs(4, NetworkParams(), [])
    covered = {kind: [] for kind in ("costs", "reference")}
    for job in jobs:
        covered[job["kind"]] += range(job["first"], job["first"] + job["count"])
    assert covered == {"costs": [*range(70)], "reference": [*range(70, 110)]}
    assert json.loads(json.dumps(jobs)) == jobs
    assert max(job["count"] for job in jobs) == 32


def test_all_step_counts_share_the_jobs_and_nothing_is_asked_twice() -> None:
    method = FewStepSchedule(**SMALL)
    assert method.jobs_for == ()
    assert method.prepares_for == ("steps",)
    jobs = method.next_jobs(4, NetworkParams(), [])
    assert jobs == method.next_jobs(16, NetworkParams(), [])
    assert method.next_jobs(4, NetworkParams(), [Done(job, Artifact()) for job in jobs]) == []


def test_what_is_not_needed_is_not_asked_for() -> None:
    kinds = {job["kind"] for job in FewStepSchedule(guard=False).next_jobs(4, NetworkParams(), [])}
    assert kinds == {"costs"}
    kinds = {job["kind"] for job in FewStepSchedule(objective="risk").next_jobs(4, NetworkParams(), [])}
    assert kinds == {"risk", "reference"}


@pytest.mark.parametrize(("kind", "name"), [("costs", "costs"), ("reference", "ends"), ("risk", "costs")])
def test_what_a_job_finds_of_a_noise_depends_on_its_number_alone(kind: str, name: str) -> None:
    method, at = FewStepSchedule(**SMALL), context()
    whole = method.do(at, {"kind": kind, "first": 2, "count": 6}).tensors[name]
    parts = [method.do(at, {"kind": kind, "first": first, "count": n}).tensors[name] for first, n in ((2, 2), (4, 4))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-14)
    elsewhere = method.do(context(steps=9), {"kind": kind, "first": 2, "count": 6}).tensors[name]
    assert torch.equal(whole, elsewhere)
    assert not torch.allclose(whole, method.do(at, {"kind": kind, "first": 3, "count": 6}).tensors[name])


def test_the_parameters_that_searches_do_not_share_jobs_over_are_those_that_a_job_reads() -> None:
    at, job = context(), {"kind": "costs", "first": 0, "count": 3}
    plain = FewStepSchedule(**SMALL).do(at, job).tensors["costs"]
    for free in ({"noises": 9}, {"validation": 9}, {"objective": "risk"}, {"guard": False}, {"refine": False}):
        assert set(free) <= set(FewStepSchedule.search_only)
        assert torch.equal(FewStepSchedule(**{**SMALL, **free}).do(at, job).tensors["costs"], plain)
    for read in ({"grid": 25}, {"sub_steps": 2}):
        assert not set(read) & set(FewStepSchedule.search_only)
        found = FewStepSchedule(**{**SMALL, **read}).do(at, job).tensors["costs"]
        assert found.shape != plain.shape or not torch.equal(found, plain)


def test_the_risk_is_the_denoising_error_of_images_that_are_not_in_the_data_sets_order() -> None:
    method, at = FewStepSchedule(**SMALL), context()
    at.clean = torch.zeros(50, 1, 4, 4).double()
    at.clean[:8] = 1.0  # sorted by class, as data sets are
    costs = method.do(at, {"kind": "risk", "first": 0, "count": 8}).tensors["costs"]
    grid = log_grid(SMALL["grid"], LOW, HIGH)
    errors = costs[:, :-1, -1] / torch.as_tensor(1 - LOW / grid[:-1])
    shrink = grid[0] ** 2 / (POWER_LAW.variances.numpy() + grid[0] ** 2)
    of_ones = (shrink**2).mean()  # at the highest noise nothing is left but the mean, which is 0
    assert 0 < int((errors[:, 0] > of_ones / 2).sum()) < 8
    x = 0.5 * torch.randn(4000, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    at = context(ONE, clean=x)
    costs = FewStepSchedule(grid=24).do(at, {"kind": "risk", "first": 0, "count": 1000}).tensors["costs"].mean(0)
    mmse = 0.25 * grid[12] ** 2 / (0.25 + grid[12] ** 2)
    assert float(costs[12, -1]) == pytest.approx(mmse * (1 - LOW / grid[12]), rel=0.15)


# What is chosen.


@pytest.mark.parametrize("objective", ["bound", "contraction", "risk"])
def test_levels_decrease_between_ends_that_are_equal_to_the_bit(objective: str) -> None:
    for refine in (True, False):
        artifact = prepared(context(), objective=objective, refine=refine, guard=False)
        levels = FewStepSchedule().levels(4, LOW, HIGH, artifact)
        assert levels.dtype == np.float64
        assert (levels[0], levels[-1], len(levels)) == (HIGH, LOW, 5)
        assert (np.diff(levels) < 0).all()


def test_without_refinement_and_guard_the_programmes_path_is_taken() -> None:
    at = context()
    artifact = prepared(at, objective="bound", refine=False, guard=False)
    grid = log_grid(SMALL["grid"], LOW, HIGH)
    costs = torch.cat([d.artifact.tensors["costs"] for d in at.done])
    assert costs.shape == (8, 25, 25)
    mean = costs.numpy().mean(0)
    path = cheapest(mean, 4)[-1]
    np.testing.assert_array_equal(artifact.tensors["levels"].numpy(), grid[path])
    assert artifact.facts["chosen"] == "on-grid"
    assert artifact.facts["bound"] == pytest.approx(path_cost(mean, path), rel=1e-10)
    each = costs[:, path[:-1], path[1:]].sum(1)
    assert artifact.facts["bound_error"] == pytest.approx(float(each.std()) / 8**0.5, rel=1e-9)
    assert artifact.facts["errors"] == {}


def test_the_contraction_weighs_steps_by_what_is_left_of_them_at_the_end() -> None:
    """The deviation that it takes for the data's is that of all training values."""
    clean = 0.3 + 0.6 * torch.randn(400, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    at = context(clean=clean)
    artifact = prepared(at, refine=False, guard=False)
    grid = log_grid(SMALL["grid"], LOW, HIGH)
    costs = torch.cat([d.artifact.tensors["costs"] for d in at.done]).mean(0).numpy()
    c = float(clean.double().std())
    weighed = costs * np.sqrt((c**2 + LOW**2) / (c**2 + grid**2))
    np.testing.assert_array_equal(artifact.tensors["levels"].numpy(), grid[cheapest(weighed, 4)[-1]])
    other = prepared(at, objective="bound", refine=False, guard=False)
    assert not torch.equal(artifact.tensors["levels"], other.tensors["levels"])


def test_on_gaussian_data_the_contraction_errs_less_than_the_bound() -> None:
    """Data whose deviation in each direction is the one that the contraction knows: its weights are exact."""
    clean = 0.5 * torch.randn(500, 1, 1, 1, generator=torch.Generator().manual_seed(3))
    for steps in (3, 5, 8):
        at = context(ONE, steps=steps, clean=clean)
        errors = [
            prepared(at, objective=name, grid=96, guard=True).facts["errors"]["refined"]
            for name in ("contraction", "bound")
        ]
        print(steps, errors)
        assert errors[0] < errors[1]


def test_refinement_leaves_the_grid_and_lowers_the_bound() -> None:
    facts = prepared(context(), guard=False).facts
    assert facts["chosen"] == "refined"
    assert facts["bound"] == facts["bounds"]["refined"] < facts["bounds"]["on-grid"]
    assert not np.isin(facts["candidates"]["refined"][1:-1], log_grid(SMALL["grid"], LOW, HIGH)).any()


def test_the_bounds_of_hand_made_levels_are_above_the_optimised_ones() -> None:
    bounds = prepared(context()).facts["bounds"]
    optimised = {name: bounds.pop(name) for name in ("refined", "on-grid")}
    assert len(bounds) == 7
    assert max(optimised.values()) < min(bounds.values())


@pytest.mark.parametrize("steps", [1, 3, 6])
@pytest.mark.parametrize("objective", ["bound", "contraction", "risk"])
def test_the_guard_takes_what_errs_least_on_noises_of_its_own(steps: int, objective: str) -> None:
    at = context(steps=steps)
    artifact = prepared(at, objective=objective)
    errors = artifact.facts["errors"]
    assert {"refined", "on-grid", "edm", "logsnr", "arctan", "uniform-t", "cosine"} < set(errors)
    assert errors[artifact.facts["chosen"]] == min(errors.values())
    x = starts(at, 8, 6)
    ends = walk(POWER_LAW, x, log_grid(24, LOW, HIGH), 1)[0][-1].view_as(x)
    mine = euler_end_error(POWER_LAW, x, artifact.tensors["levels"].numpy(), ends)
    assert mine == pytest.approx(min(errors.values()), rel=1e-12)
    for name, levels in hand_made(steps, LOW, HIGH).items():
        assert euler_end_error(POWER_LAW, x, levels, ends) == pytest.approx(errors[name], rel=1e-12)
        assert mine <= errors[name]


def test_where_the_bound_misleads_the_guard_takes_a_hand_made_schedule() -> None:
    at = ToyContext(mixture(seed=5), sigma_min=0.01, sigma_max=40.0, steps=8)
    params = {"objective": "bound", "grid": 64, "noises": 32, "validation": 64, "refine": False}
    guarded = prepared(at, **params).facts
    chosen = guarded["chosen"]
    assert chosen in hand_made(8, 0.01, 40.0)
    assert guarded["bounds"]["on-grid"] < guarded["bounds"][chosen]
    assert guarded["errors"]["on-grid"] > guarded["errors"][chosen]
    assert prepared(at, **params, guard=False).facts["chosen"] == "on-grid"


def test_risk_asks_for_other_levels_which_are_worse_for_eulers_method() -> None:
    at = context(ONE, steps=4, clean=torch.randn(500, 1, 1, 1, generator=torch.Generator().manual_seed(3)) * 0.5)
    a, b = (prepared(at, objective=objective, grid=64, noises=64).facts for objective in ("bound", "risk"))
    assert b["errors"]["refined"] > 1.5 * a["errors"]["refined"]


def test_ranges_that_no_vp_process_has_leave_its_schedules_out() -> None:
    assert "uniform-t" not in hand_made(4, 0.5, 1.0)
    assert "edm" in hand_made(4, 0.5, 1.0)
    at = ToyContext(POWER_LAW, sigma_min=0.5, sigma_max=1.0, steps=4)
    assert "uniform-t" not in prepared(at, refine=False).facts["errors"]


def test_what_is_left_is_plain_json_and_its_levels_are_read_back() -> None:
    artifact = prepared(context(), refine=False)
    facts = artifact.facts
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["objective"], facts["grid"]) == ("contraction", 24)
    assert artifact.tensors["levels"].tolist() == facts["candidates"][facts["chosen"]]
    assert FewStepSchedule().levels(4, LOW, HIGH, artifact).tolist() == artifact.tensors["levels"].tolist()


# What is refused.


def test_levels_without_their_preparation_are_refused_in_one_sentence() -> None:
    artifact = prepared(context(), guard=False, refine=False)
    with pytest.raises(ValueError, match='schedule "few-step" finds its levels in a preparation'):
        FewStepSchedule().levels(4, LOW, HIGH)
    with pytest.raises(ValueError, match="prepared for 4 steps, but 5 are asked for"):
        FewStepSchedule().levels(5, LOW, HIGH, artifact)
    for low, high in ((LOW, 40.0), (0.01, HIGH)):
        with pytest.raises(ValueError, match=f"prepared from 80.0 to 0.002, but asked for from {high} to {low}"):
            FewStepSchedule().levels(4, low, high, artifact)


def test_more_steps_than_the_grid_has_cells_are_refused() -> None:
    method = FewStepSchedule(grid=24)
    assert method.refusal({}, 24, NetworkParams()) is None
    assert method.refusal({}, 25, NetworkParams()) == (
        "25 steps do not fit on a grid of 24 cells; raise grid or take fewer steps"
    )


def test_parameters_out_of_range_or_misspelt_are_refused() -> None:
    for wrong in ({"objective": "A"}, {"grid": 1}, {"noises": 1}, {"validation": 0}, {"sub_steps": 0}, {"rounds_": 2}):
        with pytest.raises(ValidationError):
            FewStepSchedule(**wrong)


def test_the_registry_knows_it() -> None:
    assert registry().method("schedule", "few-step") is FewStepSchedule
    assert "reconstruction of Huang 2024 from its abstract" in FewStepSchedule.summary
