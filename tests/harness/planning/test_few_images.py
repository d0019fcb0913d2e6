"""A plan says before anything runs that its images are too few for FID."""

from __future__ import annotations

from typing import Any

import pytest
from kit.plan_kit import plan, with_train

from harness.planning.few_images import describe_missing_fid

DIGITS: dict[str, Any] = {**with_train(steps=1), "extractor": "digits-cnn"}


def test_as_many_images_as_features_are_too_few_and_one_more_is_enough() -> None:
    assert describe_missing_fid(plan(**DIGITS, n_images=64)) == (
        'every row on "digits" will be INVALID: found n_images = 64 for the 64 features of digits-cnn; FID needs more '
        "images than features, so set n_images to 65 or more"
    )
    assert describe_missing_fid(plan(**DIGITS, n_images=65)) == ""


def test_pixels_are_counted_as_features() -> None:
    card = plan().trials[0].trial.dataset
    values = card.channels * card.resolution**2
    assert f"for the {values} features of pixels" in describe_missing_fid(plan(n_images=values))
    assert describe_missing_fid(plan(n_images=values + 1)) == ""


def test_a_small_reference_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(**DIGITS)
    card = made.trials[0].trial.dataset
    small = card.splits[card.reference].model_copy(update={"n": 60})
    monkeypatch.setitem(card.splits, card.reference, small)
    assert "found 60 reference images for the 64 features of digits-cnn" in describe_missing_fid(made)
