"""Whose images are compared with which: the same sampler without acceleration, sampled once for all that need it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.plan_kit import ids, plan

from harness.errors import UsageError
from harness.planning.notes import plan_notes
from harness.planning.partners import find_partner
from harness.planning.plan import Plan, PlannedTrial
from harness.specs.fidelity import FidelitySpec
from harness.specs.sample import SampleSpec

DIGITS: dict[str, Any] = {
    "dataset": "digits", "network": "uvit-8", "extractor": "digits-cnn", "baseline": {"clock_steps": 4},
    "networks": {"uvit-8": {"weights": "zoo:uvit-8"}},
}  # fmt: skip
EXIT = {"steps": 4, "denoiser": "early-exit"}
CACHE = {"steps": 4, "denoiser": {"name": "taylor-cache", "interval": 2, "order": 0}}
PLAIN = {"steps": 4}


def compared(made: Plan, one: PlannedTrial) -> FidelitySpec:
    assert one.row.fidelity_id is not None
    spec = made.tasks[one.row.fidelity_id].spec
    assert isinstance(spec, FidelitySpec)
    return spec


def partner_task_ids(made: Plan, one: PlannedTrial) -> tuple[str, ...]:
    return tuple(images.task_id for images in compared(made, one).partner_by_task)


def test_the_partner_shares_the_images_of_the_row_that_is_the_same() -> None:
    made = plan(**DIGITS, trials=[PLAIN, EXIT, CACHE])
    whole, *accelerated = made.trials
    for one in accelerated:
        assert partner_task_ids(made, one) == whole.row.sample_ids
        assert one.row.partner == "uvit-8:ddim-4"
        assert one.row.fidelity_id in one.needs
    assert (whole.row.fidelity_id, whole.row.partner) == (None, "")
    assert whole.row.no_partner == "this is the run without acceleration"


def test_a_partner_that_is_no_row_is_sampled_once_and_not_scored() -> None:
    fast = {"solver": "dpmpp-2m", "schedule": "logsnr"}
    made = plan(**DIGITS, trials=[PLAIN, {**EXIT, **fast}, {**CACHE, **fast}])
    _, one, other = made.trials
    assert partner_task_ids(made, one) == partner_task_ids(made, other)
    (sampled,) = partner_task_ids(made, one)
    scored = {task_id for task in made.tasks.values() if task.kind == "score" for task_id in task.spec.spends()}
    assert sampled not in scored
    sampler = made.tasks[sampled].spec.sampler  # type: ignore[attr-defined]
    assert sampler.denoiser.name == "full"
    assert sampler.solver == one.row.sampler.solver
    assert sampler.schedule == one.row.sampler.schedule
    assert sampler.model.weights_id == one.row.sampler.model.weights_id
    assert sampler.artifact_ids() == ()


def test_a_plan_says_which_samplers_run_besides_its_rows() -> None:
    notes = plan_notes(plan(**DIGITS, trials=[PLAIN, {**EXIT, "solver": "dpmpp-2m"}, {**CACHE, "solver": "dpmpp-2m"}]))
    (note,) = (note for note in notes if note.startswith("images of accelerated rows"))
    assert "no row of the suite: uvit-8:dpmpp-2m-4; list it" in note
    assert not [note for note in plan_notes(plan(**DIGITS, trials=[PLAIN, EXIT])) if "accelerated" in note]


def test_only_images_that_are_compared_are_kept() -> None:
    made = plan(**DIGITS, trials=[PLAIN, EXIT, {"steps": 3}])
    kept = {
        one.trial.short: {made.tasks[task_id].spec.keeps_images for task_id in one.row.sample_ids}  # type: ignore[attr-defined]
        for one in made.trials
    }
    assert kept == {"uvit-8:ddim-4": {True}, "uvit-8:early-exit/ddim-4": {True}, "uvit-8:ddim-3": {False}}
    spec = made.tasks[made.trials[0].row.sample_ids[0]].spec
    assert isinstance(spec, SampleSpec)
    assert spec.transient() == ("features", "images")


def test_an_accelerated_row_more_changes_no_other_row() -> None:
    alone, more = plan(**DIGITS, trials=[PLAIN]), plan(**DIGITS, trials=[PLAIN, EXIT])
    assert ids(alone.trials[0]) == ids(more.trials[0])


def test_a_parallel_executor_is_compared_with_the_serial_run() -> None:
    made = plan(trials=[{"steps": [2, 3]}, {"steps": 3, "executor": "srds"}])
    _, serial, overlapped = made.trials
    assert partner_task_ids(made, overlapped) == serial.row.sample_ids


def test_a_tuned_network_is_compared_with_what_it_was_at_the_same_prepared_levels() -> None:
    tuned = {"steps": 4, "denoiser": "few-step", "schedule": "few-step"}
    trials = [PLAIN, {"steps": 4, "schedule": "few-step"}, tuned]
    made = plan(**{**DIGITS, "network": "unet-8", "networks": {"unet-8": {"weights": "zoo:unet-8"}}}, trials=trials)
    _, levels, whole = made.trials
    assert partner_task_ids(made, whole) == levels.row.sample_ids
    assert set(whole.trial.artifact_ids) == {"denoiser", "schedule"}
    found = find_partner(whole.trial).trial
    assert found is not None
    assert found.artifact_ids == {"schedule": whole.trial.artifact_ids["schedule"]}


def test_each_noise_has_a_partner_of_its_own() -> None:
    made = plan(**DIGITS, trials=[PLAIN, EXIT], seed_sets=[0, 1])
    by_seeds = {one.trial.seed_set: partner_task_ids(made, one) for one in made.trials if one.row.fidelity_id}
    assert by_seeds[0] != by_seeds[1]


def test_the_partner_is_guided_alike() -> None:
    trial = plan(**DIGITS, trials=[PLAIN, EXIT]).trials[1].trial
    denoiser = type(trial.parts["denoiser"])(guidance=2.0)
    found = find_partner(replace(trial, parts={**trial.parts, "denoiser": denoiser}))
    assert found.trial is not None
    assert found.trial.parts["denoiser"].params.guidance == 2.0


def test_a_wrapped_sampler_has_none() -> None:
    trial = plan(trials=[{"steps": 2}]).trials[0].trial
    own = type("Own", (type(trial.parts["solver"]),), {"name": "own"})()
    found = find_partner(replace(trial, parts={**trial.parts, "solver": own}))
    assert found.trial is None
    assert found.reason == "a wrapped sampler's steps and noise are its own"


def test_a_suite_may_measure_none() -> None:
    made = plan(**DIGITS, trials=[PLAIN, EXIT], fidelity={"measure": False})
    assert not [task for task in made.tasks.values() if task.kind == "fidelity"]
    assert {one.row.no_partner for one in made.trials} == {"the suite measures no fidelity"}
    with pytest.raises(ValueError, match="leave one out"):
        plan(**DIGITS, trials=[PLAIN], fidelity={"measure": False, "lpips_backbone": "a.pth"})


def test_a_backbone_is_known_by_its_bytes_and_read_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "alexnet.pth"
    with pytest.raises(UsageError, match=r"alexnet.pth does not exist; expected the file of torchvision's AlexNet"):
        plan(**DIGITS, trials=[PLAIN, EXIT], fidelity={"lpips_backbone": str(path)})
    torch.save({"features.0.weight": torch.zeros(3)}, path)
    with pytest.raises(UsageError, match="not the weights of AlexNet"):
        plan(**DIGITS, trials=[PLAIN, EXIT], fidelity={"lpips_backbone": str(path)})

    from torchvision.models import alexnet

    features = alexnet(weights=None).features.state_dict()
    torch.save({f"features.{name}": value for name, value in features.items()}, path)
    made = plan(**DIGITS, trials=[PLAIN, EXIT], fidelity={"lpips_backbone": str(path)})
    spec = compared(made, made.trials[1])
    assert spec.files() == (str(path),)
    assert spec.backbone is not None
    assert spec.backbone.sha256 == made.trials[1].row.backbone_sha256
    assert made.trials[1].row.fidelity_id != plan(**DIGITS, trials=[PLAIN, EXIT]).trials[1].row.fidelity_id
