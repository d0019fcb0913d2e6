"""Ranges of levels in a plan: the network's own, in samplers, preparations and reference solutions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from kit.plan_kit import last

from harness.errors import UsageError
from harness.specs.prepare import PrepareSpec
from harness.specs.reference_solution import ReferenceSolutionSpec


def made(params: dict[str, Any], **entry: Any) -> Any:
    """Return the last trial of a suite on digits, and its reference solution's sampler."""
    network = {"unet-tiny": {"train": {"steps": 1}, "params": params}}
    found = last(
        dataset="digits", network="unet-tiny", networks=network, extractor="digits-cnn",
        truncation={"images": 4, "steps": 4},
        trials=[{"steps": 2}, {"steps": 4, **entry, "label": "asked"}],
    )  # fmt: skip
    return found.trial


def solution(**entry: Any) -> Any:
    from harness.config.suite import Suite
    from harness.planning.plan import make_plan

    suite = {
        "name": "mine", "title": "t", "dataset": "digits", "network": "unet-tiny", "extractor": "digits-cnn",
        "n_images": 130, "batch": 10, "baseline": {"clock_steps": 2}, "truncation": {"images": 4, "steps": 4},
        "networks": {"unet-tiny": {"train": {"steps": 1}, "params": {"preconditioning": "vp-discrete",
                                                                     "sigma_range": [0.0100005, 157.4]}}},
        "trials": [{"steps": 2}, {"steps": 4, **entry, "label": "asked"}],
    }  # fmt: skip
    plan = make_plan(Suite.model_validate(suite), "cpu:a chip", "a chip")
    task = plan.tasks[plan.trials[-1].row.sample_ids[0]]
    spec = plan.tasks[task.spec.solution_id].spec  # type: ignore[attr-defined]
    assert isinstance(spec, ReferenceSolutionSpec)
    return spec.sampler


def test_a_network_without_a_range_has_that_of_its_data() -> None:
    trial = made({})
    assert trial.level_range == (0.002, 20.0)
    assert (trial.sampler.sigma_min, trial.sampler.sigma_max) == (0.002, 20.0)


def test_a_network_s_own_range_decides() -> None:
    trial = made({"preconditioning": "vp-discrete", "sigma_range": [0.0100005, 157.4]})
    assert (trial.sampler.sigma_min, trial.sampler.sigma_max) == (0.0100005, 157.4)


def test_a_preparation_has_the_range_too() -> None:
    from kit.plan_kit import plan

    network = {"unet-tiny": {"train": {"steps": 1}, "params": {"sigma_range": [0.01, 10.0]}}}
    found = plan(
        dataset="digits", network="unet-tiny", networks=network, extractor="digits-cnn",
        trials=[{"steps": 2}, {"steps": 2, "schedule": "gits"}],
    )  # fmt: skip
    specs = [task.spec for task in found.tasks.values() if isinstance(task.spec, PrepareSpec)]
    assert specs
    assert all((spec.sigma_min, spec.sigma_max) == (0.01, 10.0) for spec in specs)


def test_data_whose_range_leaves_the_process_are_refused() -> None:
    with pytest.raises(UsageError, match=r'"unet-tiny" states no sigma_range, and on "digits" levels from 0.002 to 20'):
        made({"preconditioning": "vp-discrete"})


def test_a_schedule_whose_levels_leave_the_range_is_refused() -> None:
    with pytest.raises(UsageError, match=r"its levels go from 25.7.* to 0.01.*; expected them between 20 and 0.02"):
        made({"preconditioning": "vp-discrete", "sigma_range": [0.02, 20.0]}, schedule="ddim-quadratic")


def test_the_reference_solution_has_the_end_and_the_beginning_of_its_trial() -> None:
    plain, ended = solution(), solution(schedule={"name": "edm", "final": "denoise"})
    assert (plain.schedule.params["final"], ended.schedule.params["final"]) == ("none", "denoise")
    assert (plain.sigma_max, plain.initial_scale) == (157.4, None)
    own = solution(schedule={"name": "ddim-uniform", "final": "denoise"})
    assert own.schedule.name == "edm"
    assert own.sigma_max == pytest.approx(25.74, abs=0.005)  # tau = 800, of five levels
    assert own.initial_scale == pytest.approx(math.hypot(1, own.sigma_max), rel=1e-14)
