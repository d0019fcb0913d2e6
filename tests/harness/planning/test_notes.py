"""Notes of a plan: each is said where it holds, and not where one thing less is missing."""

from __future__ import annotations

from typing import Any

import pytest
from kit.plan_kit import SUITE, leave_no_pixels, plan, with_train

from harness.config.suite import Suite, load_suite, suite_names
from harness.planning.notes import has_interval, plan_notes
from harness.planning.plan import make_plan

TARGETS = {"targets": {"gaussian": [3.0, 2.0]}}
DIGITS: dict[str, Any] = {
    "dataset": "digits", "network": "unet-8", "extractor": "digits-cnn", "n_images": 1200, "batch": 50,
    "networks": {"unet-8": {"weights": "zoo:unet-8"}}, "quality": {"targets": {"digits": [2.93, 1.83]}},
}  # fmt: skip


def notes(**changes: Any) -> tuple[str, ...]:
    found = plan_notes(plan(**changes))
    assert all("\n" not in note for note in found)
    return found


def test_a_whole_suite_has_none() -> None:
    assert notes(quality=TARGETS) == ()
    assert plan_notes(make_plan(load_suite("quick"), "cpu:a chip", "a chip")) == ()


@pytest.mark.parametrize(
    ("lacking", "whole", "said"),
    [
        ({"trials": [{"steps": 2}]}, {"trials": [{"steps": [2, 3]}]},
         'the baseline stands at 2 steps alone on "gaussian"'),
        ({"quality": {}}, {}, 'no FID targets for "gaussian"'),
        ({"trials": [{"steps": 2}]}, {"trials": [{"steps": [2, 3]}]}, "stands at two step counts"),
        ({"trials": [{"steps": [2, 3]}, {"steps": 3, "solver": "heun", "control_of": "ddim"}]},
         {"quality": {**TARGETS, "equivalence_margin": 0.1},
          "trials": [{"steps": [2, 3]}, {"steps": 3, "solver": "heun", "control_of": "ddim"}]},
         "no quality.equivalence_margin"),
        ({"trainings": 3}, {"trainings": 1}, "of some networks there are fewer: analytic 1"),
        ({"batch": 131}, {"batch": 130}, "batch = 131 is more than n_images = 130: batches will hold 130"),
        ({"timing": {"batch": 131}}, {"timing": {"batch": 130}}, "timing.batch = 131 is more than n_images"),
        ({"n_images": 39}, {"n_images": 40}, "will have no interval"),
        ({"trials": [{"steps": [2, 3]}, {"steps": 3, "solver": "heun"}]},
         {"trials": [{"steps": [2, 3, 6]}, {"steps": 3, "solver": "heun"}]}, "link of gains is missing"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_and_nothing_once_it_is_there(
    lacking: dict[str, Any], whole: dict[str, Any], said: str
) -> None:
    base = {"quality": TARGETS}
    assert [note for note in notes(**{**base, **lacking}) if said in note]
    assert not [note for note in notes(**{**base, **whole}) if said in note]


def test_all_trials_of_the_suite_count_whatever_was_chosen() -> None:
    assert notes(quality=TARGETS, only="analytic:ddim-3") == ()


def test_an_interval_needs_more_images_than_features_without_the_largest_group() -> None:
    assert not has_interval(68, 64)  # the largest group holds four
    assert has_interval(69, 64)
    assert not has_interval(39, 16)
    (note,) = [note for note in notes(**with_train(steps=1), extractor="digits-cnn", n_images=65) if "interval" in note]
    assert note.endswith("set n_images to 69 or more")


def test_colour_in_a_feature_network_of_grey_pictures_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = Suite.model_validate({**SUITE, **with_train(steps=1), "extractor": "digits-cnn"})
    assert not [note for note in plan_notes(make_plan(suite, "cpu:a", "a")) if "channel" in note]
    card = make_plan(suite, "cpu:a", "a").datasets["digits"].model_copy(update={"channels": 3})
    monkeypatch.setattr("harness.planning.plan.load_card", lambda _: card)
    leave_no_pixels(monkeypatch)
    (note,) = [n for n in plan_notes(make_plan(suite, "cpu:a", "a", data_may_be_absent=True)) if "channel" in n]
    assert note == (
        'the extractor digits-cnn was made for pictures of 1 channel, and those of "digits" have 3: it averages '
        "colours to grey, so that its FID is blind to colour"
    )


def test_targets_below_every_known_limit_are_said() -> None:
    """The zoo's limit of unet-8 at 1200 images lies between 0.5 and 3."""
    low = {**DIGITS, "quality": {"targets": {"digits": [2.93, 0.5]}}}
    (note,) = [note for note in notes(**low) if "limit" in note]
    assert 'no network on "digits" has a limit below the FID 0.5 of the targets, the best is unet-8 with' in note
    assert not [note for note in notes(**DIGITS) if "limit" in note]
    assert not [note for note in notes(**{**low, "n_images": 1000}) if "limit" in note]  # where none is known


def test_a_coarse_reference_solution_is_said() -> None:
    changes = {**DIGITS, "trials": [{"steps": [2, 15]}, {"steps": 8, "solver": "heun"}]}
    (note,) = [note for note in notes(**changes, truncation={"steps": 8}) if "reference solution" in note]
    assert "has 15 evaluations, no more than unet-8:ddim-15, unet-8:heun-8" in note
    assert not [note for note in notes(**changes, truncation={"steps": 9}) if "reference solution" in note]


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_lack_nothing_that_their_files_could_say(name: str) -> None:
    """Targets of an exact network say nothing, and CIFAR-10 has no network in the zoo yet to derive them from.

    Links may be missing where their rows would cost too much, and the zoo has slim-16 and cunet-16 from one seed.
    A published network that is not imported here is no fault of a file, if it names the command that brings it.
    """
    made = make_plan(load_suite(name), "cpu:a chip", "a chip", data_may_be_absent=True)
    found = [note for note in plan_notes(made) if note not in made.left_out]
    known = ("no FID targets", "of gains", "equivalence_margin", "there are fewer: cunet-16 1, slim-16 1 (")
    assert [note for note in found if not any(word in note for word in known)] == []
    assert all("`oneclock fetch " in sentence for sentence in made.left_out)
