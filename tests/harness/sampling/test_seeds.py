"""Noise is a pure function of data set, seed set, image and step."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from harness.sampling.noise import ImageNoise

SHAPE = (1, 4, 4)
GOLDEN = {  # of the float32 bytes; numpy promises its streams within a release only, so a new numpy may change them
    0: "f86d9c1dd70e87bf73cd573ddca11846edbd203354f2b63915a7bd2c7711019a",
    1: "907933fda4a18c575bd9ab73cac999146e87e557fc3c01ef90500edb1fbc2d25",
    2: "384f88f0a76d36daed2e9ab7d322f79cb77f2f78f3103620e27e49d01c221756",
    3: "e45821f8fe4a5380e5740dceda32872bc6e7224e0d76702396a45767d685f872",
}


def noise(dataset: str = "digits", seed_set: int = 0) -> ImageNoise:
    return ImageNoise(dataset, seed_set, SHAPE)


def test_an_image_has_its_noise_in_any_batch_and_order() -> None:
    together = noise().draw_initial(range(60))
    assert torch.equal(noise().draw_initial([17])[0], together[17])
    assert torch.equal(noise().draw_initial(range(16, 20))[1], together[17])
    assert torch.equal(noise().draw_initial([40, 17, 3]), together[[40, 17, 3]])


def test_an_object_that_has_drawn_before_draws_the_same() -> None:
    used = noise()
    used.draw_initial(range(7))
    used.draw_step([3], 5)
    assert torch.equal(used.draw_initial([11]), noise().draw_initial([11]))


def test_noise_of_a_shape_with_an_odd_count_of_values_does_not_leak_into_the_next_image() -> None:
    odd = ImageNoise("digits", 0, (1, 3, 3))
    assert torch.equal(odd.draw_initial([0, 1, 2])[2], odd.draw_initial([2])[0])


def test_seed_sets_data_sets_images_steps_and_preparation_never_share_noise() -> None:
    drawn = [
        *(noise(name, seeds).draw_initial(range(20)) for name in ("digits", "cifar10") for seeds in range(3)),
        *(noise().draw_step(range(20), step) for step in (0, 1, 1000)),
        ImageNoise("digits", 0, SHAPE, preparation=True).draw_initial(range(20)),
        *(ImageNoise("digits", 0, SHAPE, preparation=True).draw_step(range(20), step) for step in (0, 1)),
    ]
    rows = torch.cat(drawn).flatten(1)
    assert len({row.numpy().tobytes() for row in rows}) == len(rows)


def test_noise_is_unit_gaussian_without_correlation_between_neighbours() -> None:
    values = noise().draw_initial(range(20_000)).flatten(1).double().numpy()
    n = values.size
    assert abs(values.mean()) < 4 / np.sqrt(n)
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((values**4).mean() - 3) < 4 * np.sqrt(96 / n)
    assert abs((values[1:] * values[:-1]).mean()) < 4 / np.sqrt(n)
    assert abs((values[:, 1:] * values[:, :-1]).mean()) < 4 / np.sqrt(n)


@pytest.mark.parametrize("index", GOLDEN)
def test_noise_of_the_first_images_is_the_golden_one(index: int) -> None:
    drawn = noise().draw_initial([index]).numpy()
    assert drawn.dtype == np.float32
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == GOLDEN[index], f"numpy {np.__version__} draws otherwise"


def test_global_generators_neither_matter_nor_move() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    first = noise().draw_initial([5])
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].tobytes()
    noise().draw_initial([5])
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tobytes() == legacy
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(noise().draw_initial([5]), first)
