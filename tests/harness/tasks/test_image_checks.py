"""Checks of images as they are made: which are not finite, and which have one grey level."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import harness
from harness.sampling.pixels import to_uint8
from harness.tasks.image_checks import ImageChecks

SAMPLER = harness.make_sampler("analytic", dataset="gaussian", steps=3)


def checked(states: Tensor, pictures: Tensor | None = None) -> ImageChecks:
    """Return the checks of one batch, whose images are 10, 11, ..."""
    initial = SAMPLER.initial_state(range(10, 10 + len(states)))
    pictures, checks = states if pictures is None else pictures, ImageChecks(None, None)
    network = SAMPLER.denoiser.network  # type: ignore[attr-defined]
    images = to_uint8(pictures.nan_to_num())
    checks.update(range(10, 10 + len(states)), states, pictures, images, initial, SAMPLER, network)
    return checks


def drawn(images: int = 4) -> Tensor:
    return SAMPLER.initial_state(range(images)) / 100


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_value_that_is_not_finite_is_found_in_its_image(value: float) -> None:
    states = drawn()
    states[2, 0, 0, 1] = value
    checks = checked(states)
    assert (checks.not_finite, checks.first_not_finite, checks.sound) == (1, 12, False)


def test_infinities_that_cancel_in_a_sum_are_found() -> None:
    states = drawn()
    states[1, 0, 0, 0], states[3, 0, 0, 0] = float("inf"), -float("inf")
    assert (checked(states).not_finite, checked(states).first_not_finite) == (2, 11)


def test_finite_states_whose_sum_overflows_are_finite() -> None:
    states = torch.full_like(drawn(), 3e38)
    assert states.sum().isinf()
    assert checked(states).not_finite == 0


def test_pictures_of_finite_latents_are_looked_at_too() -> None:
    pictures = drawn()
    pictures[0, 0, 0, 0] = float("nan")
    assert (checked(drawn(), pictures).not_finite, checked(drawn(), pictures).first_not_finite) == (1, 10)
    assert checked(drawn(), drawn()).not_finite == 0


def test_images_of_one_grey_level_are_counted() -> None:
    states = drawn()
    states[1], states[3] = 0.5, -2.0
    assert checked(states).constant == 2
    assert checked(drawn()).constant == 0
