"""Controls of a cache as rows: fewer steps of the whole network at equal FLOPs, and the levels of its whole calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.plan_kit import plan
from kit.toy_runs import Run

from harness.errors import UsageError

DIGITS: dict[str, Any] = {
    "dataset": "digits", "network": "unet-8", "extractor": "digits-cnn", "baseline": {"clock_steps": 6},
    "networks": {"unet-8": {"weights": "zoo:unet-8"}},
}  # fmt: skip
CACHE = {"steps": 6, "denoiser": {"name": "deep-cache", "interval": 3}, "label": "cached"}
FEWER = {"steps": 4, "control_of": "cached-6"}
LEFT_OUT = {
    "steps": 2, "schedule": {"name": "whole-calls", "grid": 6, "interval": 3}, "control_of": "cached-6",
    "label": "left-out",
}  # fmt: skip


def test_a_control_may_have_other_steps_than_its_claim() -> None:
    made = plan(**DIGITS, trials=[{"steps": 6}, CACHE, FEWER, LEFT_OUT])
    _, cache, *controls = made.trials
    assert [one.row.relations.control_of_trial_id for one in controls] == [cache.id] * 2
    assert [one.trial.steps for one in controls] == [4, 2]


def test_without_steps_a_name_means_equal_steps() -> None:
    with pytest.raises(UsageError, match=r'a control of "cached", which is no other trial .* did you mean "cached-6"'):
        plan(**DIGITS, trials=[{"steps": 6}, CACHE, {**FEWER, "control_of": "cached"}])


def test_a_claim_on_another_network_may_have_other_steps_too() -> None:
    trials = [{"steps": [3, 6]}, {"steps": 6, "network": "cunet-8"}]
    made = plan(**DIGITS, trials=[*trials, {"steps": 4, "control_of": "ddim-6 @ cunet-8"}])
    of = next(p for p in made.trials if p.id == made.trials[-1].row.relations.control_of_trial_id)
    assert (of.trial.network.name, of.trial.steps) == ("cunet-8", 6)


def test_a_trial_is_no_control_of_itself() -> None:
    with pytest.raises(UsageError, match='a control of "ddim-6", which is no other trial'):
        plan(**DIGITS, trials=[{"steps": 6, "control_of": "ddim-6"}])


def test_wrong_steps_of_whole_calls_are_refused_while_the_suite_is_planned() -> None:
    with pytest.raises(UsageError, match="of 6 steps at interval 3, 2 begin with a whole call; give 2 steps"):
        plan(**DIGITS, trials=[{"steps": 6}, CACHE, {**LEFT_OUT, "steps": 3}])


SUITE = """
name = "caches"
title = "A cache beside its controls"
dataset = "digits"
network = "unet-8"
extractor = "digits-cnn"
n_images = 100
batch = 50
[baseline]
clock_steps = 6
[timing]
tier = "smoke"
[networks]
unet-8.weights = "zoo:unet-8"
[[trials]]
steps = 6
[[trials]]
label = "cached"
steps = 6
denoiser = { name = "deep-cache", interval = 3 }
[[trials]]
label = "left-out"
steps = 2
schedule = { name = "whole-calls", grid = 6, interval = 3 }
control_of = "cached-6"
"""


def test_a_cached_call_counts_as_a_call_and_as_the_flops_that_ran(tmp_path: Path) -> None:
    path = tmp_path / "caches.toml"
    path.write_text(SUITE)
    run = Run(str(path), tmp_path)
    whole, cached, left_out = run.row("ddim", 6), run.row("cached", 6), run.row("left-out", 2)

    # two whole calls, four cached ones
    once = whole["flops_per_image"] / 6
    assert (whole["nfe"], cached["nfe"], left_out["nfe"]) == (6, 6, 2)
    assert left_out["flops_per_image"] == pytest.approx(2 * once)
    assert 2 * once < cached["flops_per_image"] < 6 * once
    units = run.of("steps", cached).sort_values("step")
    assert [ran.split('"')[1] for ran in units["units_json"]] == ["full", "cached", "cached"] * 2
    assert units["flops_per_image"].sum() == pytest.approx(cached["flops_per_image"])

    # its levels are the cache's; it is another sampler, so what it is compared with is its own
    assert run.of("steps", left_out)["sigma"].tolist() == units["sigma"].tolist()[::3]
    assert cached["partner"] == "unet-8:ddim-6"
    assert cached["psnr"] > 10
    assert left_out["psnr"] != left_out["psnr"]
    assert left_out["control_of_trial_id"] == cached["trial_id"]
