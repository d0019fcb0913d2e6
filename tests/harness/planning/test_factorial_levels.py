"""A suite's factorial design: its runs, the levels of its factors, and designs that are refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from kit.plan_kit import plan

from harness.config.suite import load_suite
from harness.errors import UsageError
from harness.planning.notes import plan_notes

FACTORS = ["steps", "solver", "denoiser", "precision"]
DIGITS: dict[str, Any] = {
    "dataset": "digits", "network": "unet-8", "extractor": "digits-cnn", "baseline": {"clock_steps": 6},
    "networks": {"unet-8": {"weights": "zoo:unet-8"}}, "factorial": {"factors": FACTORS}, "precision": "float32",
}  # fmt: skip
CACHES = ["full", {"name": "deep-cache", "interval": 2}]
FIRST = {"steps": [6, 9], "solver": ["ddim", "unipc"], "denoiser": CACHES}
FULL = {**FIRST, "precision": ["float32", "bfloat16"]}


def test_every_trial_but_controls_is_a_run_and_has_its_levels_in_its_row() -> None:
    control = {"steps": 4, "solver": "unipc", "control_of": "deep-cache(interval=2)/unipc-6"}
    made = plan(**DIGITS, trials=[FULL, control])
    *runs, last = made.trials
    assert len(runs) == 16
    assert last.row.factors == {}
    found = {tuple(one.row.factors.values()) for one in runs}
    assert len(found) == 16
    assert list(runs[0].row.factors) == FACTORS
    assert ("9", "unipc", "deep-cache(interval=2)", "bfloat16") in found


def test_a_precision_of_its_own_ends_the_name_and_is_no_baseline() -> None:
    made = plan(**DIGITS, trials=[FULL])
    names = [one.trial.method for one in made.trials]
    assert "deep-cache(interval=2)/unipc/bfloat16" in names
    assert len(set(names)) == 8
    halves = [one for one in made.trials if one.row.sampler.model.precision == "bfloat16"]
    assert len(halves) == 8
    assert not any(one.row.relations.is_baseline for one in halves)
    assert sum(one.row.relations.is_baseline for one in made.trials) == 2
    (clock,) = {one.row.relations.clock_trial_id for one in made.trials}
    assert next(one for one in made.trials if one.id == clock).trial.precision == "float32"


def test_rows_of_another_precision_close_no_chain_of_gains_and_need_none() -> None:
    """The report compares rows of one precision in a chain."""
    base = {"steps": [6, 9], "solver": ["ddim", "unipc"]}
    apart = {"steps": 6, "solver": "deis", "precision": "bfloat16"}
    given = {**DIGITS, "factorial": None}
    assert not [note for note in plan_notes(plan(**given, trials=[base, apart])) if "links of gains" in note]
    whole = plan(
        **given, trials=[{**base, "steps": 6}, {"steps": 9, "solver": "unipc"}, {"steps": 9, "precision": "bfloat16"}]
    )
    assert [note for note in plan_notes(whole) if "link of gains is missing" in note and "unet-8:ddim-9" in note]


def test_without_a_design_no_row_has_levels_and_its_identity_is_as_before() -> None:
    without = {name: value for name, value in DIGITS.items() if name != "factorial"}
    with_design, plain = plan(**DIGITS, trials=[FULL]), plan(**without, trials=[FULL])
    assert all(one.row.factors == {} for one in plain.trials)
    assert {one.row.sample_ids for one in plain.trials} == {one.row.sample_ids for one in with_design.trials}
    assert "factors" not in str(plain.trials[0].row.model_dump(exclude_defaults=True))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trials": [FIRST]}, r'\[factorial\]: the factor "precision" has the one level float32 among the runs'),
        ({"factorial": {"factors": ["steps", "solver"]}, "trials": [FULL]},
         r'has the denoiser full and .* deep-cache\(interval=2\), and denoiser is no factor; add "denoiser"'),
        ({"factorial": {"factors": ["steps", "solver"]},
          "trials": [{"steps": 6}, {"steps": 9, "solver": "unipc"}]},
         "the runs on unet-8 cannot tell the factor solver from steps; add runs"),
        ({"factorial": {"factors": ["steps", "solver"]}, "timing": {"mode": "deployed"},
          "trials": [{"steps": 6, "solver": ["ddim", "unipc"], "precision": ["float32", "float64"]}]},
         'precision is "float64" and timing.mode is "deployed"'),
    ],
)  # fmt: skip
def test_a_design_that_means_nothing_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refused:
        plan(**{**DIGITS, **changes})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ('factorial.factors=["steps", "steps"]', r'factorial.factors.* factors name "steps" twice; expected each once'),
        ('factorial.factors=["steps"]', "factorial.factors.* 2 items"),
        ('factorial.factors=["steps", "batch"]', "factorial.factors"),
        ('trials.0.precision="float8"', "trials.0.precision"),
    ],
)
def test_a_setting_that_is_no_design_is_refused_when_the_suite_is_read(setting: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refused:
        load_suite("quick", [setting])
    assert "\n" not in str(refused.value)


def test_half_of_the_combinations_are_trials_with_an_even_number_of_second_values() -> None:
    made = plan(**DIGITS, trials=[{**FULL, "half_of": ["steps", "solver", "precision"]}])
    found = [tuple(one.row.factors.values()) for one in made.trials]
    assert len(set(found)) == 8
    seconds = [(n == "9") + (solver == "unipc") + (number == "bfloat16") for n, solver, _, number in found]
    assert {count % 2 for count in seconds} == {0}
    assert [denoiser for *_, denoiser, _ in found].count("full") == 4


@pytest.mark.parametrize(
    ("half_of", "sentence"),
    [
        (["steps", "schedule"], 'half_of names "schedule", which is no list of two; expected fields with two values'),
        (["steps"], "half_of names steps; expected two fields or more, each once"),
        (["steps", "steps"], "half_of names steps, steps; expected two fields or more, each once"),
    ],
)
def test_half_of_what_is_no_list_of_two_is_refused(half_of: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plan(**DIGITS, trials=[{**FULL, "half_of": half_of}])
