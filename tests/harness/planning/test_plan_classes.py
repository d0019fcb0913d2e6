"""Classes and guidance in a plan: what a suite must name, what is refused, and what a trial then holds."""

from __future__ import annotations

from typing import Any

import pytest
from kit.plan_kit import last, plan

from harness.errors import UsageError
from harness.specs.prepare import PrepareSpec

SMALL = {"depth": 2, "width": 16, "heads": 2, "patch": 2, "preconditioning": "edm"}


def suite(params: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return changes to a suite on digits of a small network that knows ten classes."""
    sizes = {**SMALL, "classes": 10, **(params or {})}
    return {
        "dataset": "digits", "network": "uvit-8", "extractor": "digits-cnn", "n_images": 400, "classes": "uniform",
        "networks": {"uvit-8": {"train": {"steps": 1}, "params": sizes}}, **changes,
    }  # fmt: skip


def trials(**entry: Any) -> dict[str, Any]:
    return {"trials": [{"steps": 2}, {"steps": 2, **entry}]}


def test_a_law_is_in_the_sampler_of_every_trial() -> None:
    made = plan(**suite(**trials(solver="heun")))
    assert {one.trial.sampler.classes.law for one in made.trials if one.trial.sampler.classes} == {"uniform"}
    assert all(one.trial.sampler.classes is not None for one in made.trials)
    other = plan(**suite(classes="balanced", **trials(solver="heun")))
    assert {one.id for one in made.trials}.isdisjoint(one.id for one in other.trials)


def test_frequencies_are_those_of_the_training_images() -> None:
    classes = last(**suite(classes="frequency")).trial.sampler.classes
    assert classes is not None
    assert (sum(classes.counts), len(classes.counts), min(classes.counts) > 50) == (1500, 10, True)


def test_one_class_and_none() -> None:
    one = last(**suite(classes=3)).trial.sampler.classes
    assert one is not None
    assert (one.law, one.one) == ("one", 3)
    assert last(**suite(classes="none")).trial.sampler.classes is None


def test_guidance_of_an_entry_goes_over_all_its_denoisers() -> None:
    listed = [1.0, 1.5, {"scale": 3.0, "interval": [0.2, 5.0], "channels": 1}]
    found = plan(**suite(**trials(solver="heun", guidance=listed))).trials[1:]
    assert [one.trial.method for one in found] == [
        "heun",
        "full(guidance=1.5)/heun",
        "full(guidance=3.0,guidance_interval=[0.2, 5.0],guided_channels=1)/heun",
    ]
    assert [one.trial.evaluations for one in found] == [4, 8, 8]


def test_a_guided_trial_is_compared_at_as_many_evaluations() -> None:
    made = plan(**suite(trials=[{"steps": [2, 4]}, {"steps": 2, "guidance": 2.0}]))
    four, guided = made.trials[1:]
    assert guided.row.relations.baseline_trial_id == four.id


def test_only_what_samples_its_trial_is_prepared_with_guidance() -> None:
    exits = {"name": "early-exit", "tune_steps": 2}
    depths = {"name": "adadiff", "rule": "mean-depth", "tune_steps": 2}
    for denoiser, sampling in ((exits, 0), (depths, 2)):
        found = plan(**suite(trials=[{"steps": 2}, {"steps": 2, "denoiser": denoiser, "guidance": [1.0, 2.0]}]))
        specs = [task.spec for task in found.tasks.values() if isinstance(task.spec, PrepareSpec)]
        assert sum(spec.classes is not None for spec in specs) == sampling
        assert sum(spec.classes is None for spec in specs) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (suite(classes=None), '"uvit-8" knows 10 classes; set the suite\'s classes to "uniform"'),
        (suite(classes=10), 'classes is 10, but network "uvit-8" knows classes 0 to 9'),
        (suite({"null_class": False}, classes="none"), "cannot be called for no class; set"),
        (suite(classes="balanced", n_images=405), "405, which is no multiple of the 10 classes"),
        (suite(classes="none", **trials(guidance=2.0)), 'guidance is 2, but classes is "none"; leave the guidance out'),
        (suite({"null_class": False}, **trials(guidance=2.0)), 'guidance is 2, but network "uvit-8" cannot be called'),
        (suite({"classes": 0}, classes=None, **trials(guidance=2.0)), 'guidance is 2, but network "uvit-8" knows no'),
        (suite({"null_class": False}, **trials(schedule="gits")), 'schedule "gits" is prepared without classes'),
        (suite({"classes": 3}, classes="frequency"), "the training images have labels up to 9 for 3 classes"),
    ],
    ids=range(9),
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(**changes)


def test_data_without_labels_have_no_frequencies() -> None:
    from harness.planning.classes import classes_spec

    with pytest.raises(UsageError, match=r'"frequency", but the training images have no labels; set classes to "uni'):
        classes_spec("frequency", 10, lambda: None)
