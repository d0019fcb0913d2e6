"""A measured schedule in diffusers' form: closed forms, the library's own arithmetic, and snippets that run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pandas import DataFrame, Series, concat

from harness import api
from harness.cli import main
from harness.errors import UsageError
from harness.report.diffusers_schedule import ExportedSchedule, gaussian_error, load_beta_schedule
from harness.report.export import export_schedule, find_trial, trial_levels
from methods.schedules.arctan import Arctan
from methods.schedules.edm import EDM

REFERENCE = Path(__file__).resolve().parents[3] / "results/reference/quick"
C = 0.75
PHOTOGRAPHS = 0.484  # sigma_data of cifar10-16, by its card
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")


@pytest.fixture(scope="module")
def quick() -> api.Tables:
    return api.load(REFERENCE)


def toy(levels: Any, solver: str = "dpmpp-2m", sigma_data: float | None = C, betas: str = "linear") -> ExportedSchedule:
    """Return a trial of the given levels."""
    levels = np.array(levels)
    facts = {
        "trial_id": "ab" * 32, "attempt": 1, "method": solver, "network": "net", "dataset": "data", "schedule": "made",
        "solver": solver, "denoiser": "full", "executor": "serial", "steps": len(levels) - 1,
    }  # fmt: skip
    return ExportedSchedule(Series(facts), levels, load_beta_schedule(betas, 1000), sigma_data)


def trials(*rows: dict[str, Any]) -> DataFrame:
    usual = {"dataset": "digits", "network": "unet-8", "method": "ddim", "steps": 5, "attempt": 1, "params_json": "{}"}
    return DataFrame([{**usual, **row} for row in rows])


def run(snippet: str) -> Any:
    """Run a printed snippet and return the scheduler that it made."""
    names: dict[str, Any] = {}
    exec(snippet, names)
    return names["scheduler"]


def sampled(scheduler: Any) -> float:
    """Return what the library's steps leave of x on Gaussian data, relative to the exact solution, from x = 1."""
    scheduler.set_begin_index(0)
    x, sigmas = torch.ones(1, dtype=torch.float64), scheduler.sigmas.double().numpy()
    for sigma, timestep in zip(sigmas, scheduler.timesteps, strict=False):
        scheduler.scale_model_input(x, timestep)
        x = scheduler.step(x * sigma / (C**2 + sigma**2), timestep, x).prev_sample
    return float(x) * float(np.sqrt((C**2 + sigmas[0] ** 2) / (C**2 + sigmas[-1] ** 2)))


@pytest.mark.parametrize(
    ("schedule", "steps", "error"), [(Arctan(c=0.5), 4, 0.2684), (Arctan(c=0.5), 6, 0.1856), (EDM(), 4, 0.5327)]
)
def test_the_closed_form_gives_the_published_errors(schedule: Any, steps: int, error: float) -> None:
    assert gaussian_error(schedule.levels(steps, 0.002, 80.0), 0.5) == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize("betas", BETAS)
def test_timesteps_are_the_nearest_in_log_sigma_as_the_library_interpolates(betas: str) -> None:
    from diffusers import EulerDiscreteScheduler

    low, high = load_beta_schedule(betas, 1000).levels[:2]
    nearer_high_in_log_only = ((low * high) ** 0.5 + (low + high) / 2) / 2
    exported = toy(sorted([*EDM().levels(18, 0.002, 80.0), nearer_high_in_log_only], reverse=True), betas=betas)
    scheduler = EulerDiscreteScheduler(beta_schedule=betas)
    scheduler.set_timesteps(sigmas=exported.levels.tolist())
    assert exported.timesteps.tolist() == scheduler.timesteps.round().int().tolist()
    scheduler.set_timesteps(timesteps=exported.timesteps.tolist())
    assert torch.from_numpy(exported.rounded).float().equal(scheduler.sigmas)


def test_the_error_before_and_after_is_what_the_librarys_euler_does() -> None:
    from diffusers import EulerDiscreteScheduler

    exported = toy([80.0, 11.0, 3.9, 1.6, 0.57, 0.17, 0.002], "ddim")
    errors = exported.errors()
    assert errors is not None
    assert 1 - sampled(run(exported.as_snippet())) == pytest.approx(errors[0], abs=1e-5)
    scheduler = EulerDiscreteScheduler()
    scheduler.set_timesteps(timesteps=exported.timesteps.tolist())
    assert 1 - sampled(scheduler) == pytest.approx(errors[1], abs=1e-5)
    assert abs(errors[0] - errors[1]) > 1e-4


def test_levels_of_the_library_are_not_moved() -> None:
    library = load_beta_schedule("linear", 1000).levels
    exported = toy([*library[[930, 400, 20, 0]], 0.002])
    assert exported.timesteps.tolist() == [930, 400, 20, 0]
    assert (exported.largest_change, exported.outside, exported.shared) == (0.0, [], {})
    assert "by up to 0 %; all levels lie in its range 0.01 to 157.4" in exported.note()


def test_levels_outside_the_librarys_are_moved_to_its_ends_and_told() -> None:
    exported = toy([200.0, 3.0, 0.005, 0.002])
    assert exported.timesteps[[0, -1]].tolist() == [999, 0]
    assert exported.outside == [200.0, 0.005]
    assert exported.largest_change == pytest.approx(1.0, rel=1e-3)  # 0.005 becomes 0.01
    assert "2 levels are outside its range" in exported.note()
    told = toy([200.0, 3.0, 0.005, 0.002], "ddim").as_snippet()
    assert "2 levels are outside 0.01 to 157.4" in told
    assert run(told).timesteps[[0, -1]].tolist() == [999, 0]


def test_levels_that_share_a_timestep_are_no_schedule_but_their_sigmas_are() -> None:
    levels = [80.0, 2.0, 0.006, 0.005, 0.004, 0.002]
    exported = toy(levels)
    assert exported.shared == {0: 3}
    data = json.loads(exported.as_json())
    assert data["rounding"]["valid"] is False
    assert data["rounding"]["shared_timesteps"] == [0]
    assert data["note"].endswith("3 levels fall on timestep 0, which is no valid schedule, so use the sigmas.")
    with pytest.raises(UsageError, match=r"cannot be given as timesteps: 3 levels fall on timestep 0; expected one"):
        exported.as_snippet()
    assert toy([80.0, 0.006, 0.005, 0.002]).shared == {0: 2}
    assert run(toy(levels, "ddim").as_snippet()).sigmas.tolist() == torch.tensor(levels).tolist()


def test_json_holds_the_levels_to_the_last_digit(quick: api.Tables) -> None:
    data = json.loads(export_schedule(quick.trials, quick.steps, "unet-16:ddim-5").as_json())
    rows = quick.steps[quick.steps["trial_id"] == data["trial_id"]].sort_values("step")
    assert data["sigmas"] == [*rows["sigma"], 0.002]
    assert data["sigmas"] == pytest.approx(EDM().levels(5, 0.002, 40.0).tolist(), rel=1e-12)
    assert (data["steps"], data["network"], data["dataset"]) == (5, "unet-16", "cifar10-16")
    assert (data["beta_schedule"], data["beta_start"], data["beta_end"]) == ("linear", 0.0001, 0.02)
    rounding = data["rounding"]
    assert len(data["timesteps"]) == len(data["sigmas"]) - 1 == len(rounding["sigmas"]) - 1 == 5
    assert rounding["valid"] is True
    assert rounding["sigma_data"] == PHOTOGRAPHS  # the card's, not the schedule's
    assert rounding["gaussian_error_before"] == gaussian_error(np.array(data["sigmas"]), PHOTOGRAPHS)
    assert rounding["gaussian_error_after"] == gaussian_error(np.array(rounding["sigmas"]), PHOTOGRAPHS)
    assert f"from {rounding['gaussian_error_before']:.4g} at the last level 0.002" in data["note"]


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("name", ["unet-16:ddim-5", "ddim-20", "ddim@few-step", "few-step-tuned", "srds-batched"])
def test_a_snippet_of_sigmas_runs_and_has_the_trials_levels(quick: api.Tables, name: str, betas: str) -> None:
    exported = export_schedule(quick.trials, quick.steps, name, betas)
    snippet = exported.as_snippet()
    scheduler = run(snippet)
    assert type(scheduler).__name__ == "EulerDiscreteScheduler"
    assert scheduler.sigmas.equal(torch.from_numpy(exported.levels).float())
    assert len(scheduler.timesteps) == len(exported.levels) - 1 == exported.trial["steps"]
    assert scheduler.config["beta_schedule"] == betas
    assert ('denoiser "few-step" has no counterpart' in snippet) == (name == "few-step-tuned")
    assert ('executor "srds" has no counterpart' in snippet) == (name == "srds-batched")


@pytest.mark.parametrize("name", ["unet-16:dpmpp-2m-5", "unet-16:dpmpp-2m-10"])
def test_a_snippet_of_timesteps_runs_and_has_the_nearest_levels(quick: api.Tables, name: str) -> None:
    exported = export_schedule(quick.trials, quick.steps, name)
    scheduler = run(exported.as_snippet())
    assert type(scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert (scheduler.config["solver_order"], scheduler.config["algorithm_type"]) == (2, "dpmsolver++")
    assert scheduler.timesteps.tolist() == exported.timesteps.tolist()
    assert scheduler.sigmas.equal(torch.from_numpy(exported.rounded).float())
    assert np.abs(scheduler.sigmas[:-2].numpy() / exported.levels[:-2] - 1).max() < 0.25


def test_a_trial_is_found_by_id_and_by_each_of_its_names() -> None:
    table = trials({"trial_id": "aaaa1"}, {"trial_id": "aaaa2", "steps": 10}, {"trial_id": "b" * 5, "method": "heun"})
    for wanted, found in {
        "aaaa1": "aaaa1", "bbbb": "bbbbb", "heun": "bbbbb", "unet-8:heun": "bbbbb", "ddim-10": "aaaa2",
        "unet-8:ddim-5": "aaaa1",
    }.items():  # fmt: skip
        assert find_trial(table, wanted)["trial_id"] == found


def test_a_part_s_name_finds_its_row_where_no_printed_name_is_that() -> None:
    labelled = {"trial_id": "aaaa1", "method": "idea", "denoiser": "halves", "solver": "ddim"}
    table = trials(labelled, {"trial_id": "bbbb1", "method": "ddim", "denoiser": "full", "solver": "ddim"})
    assert find_trial(table, "halves")["trial_id"] == "aaaa1"
    assert find_trial(table, "ddim")["trial_id"] == "bbbb1"  # its printed name comes first
    with pytest.raises(UsageError, match='"halve" is neither'):
        find_trial(table, "halve")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("ddim", r'"ddim" is 2 trials here: aaaa1 \(digits unet-8:ddim-5\), aaaa2 \(digits unet-8:ddim-10\); give one'),
        ("aaaa", '"aaaa" is 2 trials here'),
        ("bbb", '"bbb" is neither an id nor a name'),  # three digits are too few
        ("ddim-11", "nearest: ddim-10, "),
        ("ddim@unet-8-10", '"ddim@unet-8-10" is called "unet-8:ddim-10" now'),
    ],
)
def test_what_names_several_trials_or_none_is_told_with_the_nearest(wanted: str, told: str) -> None:
    table = trials({"trial_id": "aaaa1"}, {"trial_id": "aaaa2", "steps": 10}, {"trial_id": "bbbbb", "method": "heun"})
    with pytest.raises(UsageError, match=told):
        find_trial(table, wanted)


def test_of_several_trainings_each_has_a_name_of_its_own() -> None:
    table = trials({"trial_id": "aaaa1", "training": 0}, {"trial_id": "bbbb1", "training": 1})
    assert find_trial(table, "unet-8:ddim-5 training 1")["trial_id"] == "bbbb1"
    with pytest.raises(
        UsageError, match=r'"ddim-5" is 2 trials here: aaaa1 \(digits unet-8:ddim-5 training 0\), bbbb1'
    ):
        find_trial(table, "ddim-5")


def test_the_levels_are_those_of_the_accepted_attempt_in_the_order_of_steps() -> None:
    rows = {"trial_id": "a", "attempt": 2, "step": [1, 0], "sigma": [1.0, 9.0], "sigma_next": [0.1, 1.0]}
    other = {"trial_id": "a", "attempt": 1, "step": [0], "sigma": [7.0], "sigma_next": [0.7]}
    steps = concat([DataFrame(rows), DataFrame(other)])
    facts = {"trial_id": "a", "attempt": 2, "verdict": "INVALID", "reasons": "broke"}
    none, denoise = (f'{{"schedule": {{"final": "{final}"}}}}' for final in ("none", "denoise"))
    (_, trial), (_, ended) = trials({**facts, "params_json": none}, {**facts, "params_json": denoise}).iterrows()
    assert trial_levels(ended, steps).tolist() == [9.0, 1.0, 0.1, 0.0]
    assert trial_levels(trial, steps).tolist() == [9.0, 1.0, 0.1]
    with pytest.raises(UsageError, match=r"no rows in the table of steps and is INVALID \(broke\); choose"):
        trial_levels(trial, steps[:0])


def test_tables_that_came_without_their_card_tell_no_cost(quick: api.Tables) -> None:
    strange = quick.trials.assign(dataset="nowhere")
    data = json.loads(export_schedule(strange, quick.steps, "ddim-5").as_json())
    assert data["rounding"]["gaussian_error_before"] is data["rounding"]["sigma_data"] is None
    assert 'no card of "nowhere" is at hand' in data["note"]
    assert data["rounding"]["largest_relative_change"] > 0


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["dpmpp-2m-5", "--format", "json"], 0, '"trial_id"', ""),
        (["dpmpp-2m-10"], 2, "", "trials here: "),
        (["dpmpp-2m-20", "--beta-schedule", "squaredcos_cap_v2"], 0, "beta_schedule='squaredcos_cap_v2'", ""),
        (["dpmpp-2m-20", "--train-steps", "50"], 2, "", "12 levels fall on timestep 49"),
        (["dpmpp-2m-20", "--train-steps", "50", "--format", "json"], 0, '"valid": false', ""),
        (["dpmpp-2m-20", "--train-steps", "1"], 2, "", "expected 2 or more"),
        (["dpmpp-2m-21"], 2, "", "nearest: dpmpp-2m-20"),
    ],
)
def test_the_verb_prints_results_on_stdout_and_refuses_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], code: int, out: str, err: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["oneclock", "export", "schedule", *words, "--results", str(REFERENCE)])
    ended = 0
    try:
        main()
    except SystemExit as left:
        ended = int(left.code or 0)
    said = capsys.readouterr()
    assert ended == code
    assert out in said.out
    assert bool(said.out) == (code == 0)
    assert err in said.err
    assert said.err.count("\n") == (0 if code == 0 else 1)
