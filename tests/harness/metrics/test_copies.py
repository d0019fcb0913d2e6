"""Copies: distances by hand, a rate of one by construction for copies and of one in a hundred for held-out images."""

from __future__ import annotations

import pytest
import torch

from harness.metrics.copies import CopyTest, image_vectors, nearest_distances
from harness.specs.rules.quality import COPY_QUANTILE


def test_distances_are_those_of_pythagoras() -> None:
    found = nearest_distances(torch.tensor([[0.0, 0.0], [5.0, 1.0]]), torch.tensor([[3.0, 4.0], [5.0, 3.0]]))
    assert found.tolist() == [5.0, 2.0]


def test_a_copy_has_distance_zero_however_large_its_values() -> None:
    training = 1e3 + torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    assert nearest_distances(training[7:9], training).tolist() == [0.0, 0.0]


def test_distances_are_those_of_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    vectors, others = torch.randn(60, 12, generator=generator), 5 + torch.randn(90, 12, generator=generator)
    monkeypatch.setattr("harness.metrics.copies._DISTANCES", 700)  # several rounds
    expected = (vectors[:, None] - others[None]).square().sum(-1).amin(1).sqrt()
    assert torch.allclose(nearest_distances(vectors, others), expected, rtol=1e-6)
    assert nearest_distances(vectors, others[:3]).shape == (60,)


def test_copies_are_found_and_held_out_images_are_at_their_level() -> None:
    generator = torch.Generator().manual_seed(1)
    training, held_out, fresh = (torch.randn(n, 8, generator=generator) for n in (400, 2000, 2000))
    test = CopyTest.of(training, held_out)
    assert test.rate(held_out) == pytest.approx(COPY_QUANTILE, abs=1e-3)
    assert test.rate(fresh) <= test.highest_rate(len(fresh))  # of the same law as the held-out ones
    assert test.rate(training + 1e-3) == 1.0
    half = torch.cat([training[:50], fresh[:50]])
    assert test.rate(half) == pytest.approx(0.5, abs=0.03)


def test_flips_count_as_copies_only_where_training_flips() -> None:
    images = torch.randint(0, 256, (20, 3, 4, 4), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    mirrored = image_vectors(images.flip(-1))
    assert nearest_distances(mirrored, image_vectors(images, flips=True)).max() == 0
    assert nearest_distances(mirrored, image_vectors(images)).min() > 0


def test_pixels_run_from_minus_one_to_one() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)
    assert image_vectors(images).tolist() == [[-1.0, 1.0]]


@pytest.mark.parametrize("held_out", [297, 1000])
def test_chance_exceeds_the_highest_rate_once_in_a_hundred(held_out: int) -> None:
    """By drawing: distances of held-out and of generated images of one law, here uniform in [0, 1]."""
    generator = torch.Generator().manual_seed(4)
    rates = torch.empty(20_000)
    for row in range(len(rates)):
        threshold = torch.quantile(torch.rand(held_out, generator=generator), COPY_QUANTILE)
        rates[row] = (torch.rand(1200, generator=generator) < threshold).double().mean()
    highest = CopyTest(torch.zeros(1, 1), 1.0, held_out, 1.0).highest_rate(1200)
    assert 0.005 < float((rates > highest).double().mean()) < 0.013


def test_held_out_images_that_are_training_images_are_refused() -> None:
    training = torch.randn(50, 4, generator=torch.Generator().manual_seed(5))
    with pytest.raises(ValueError, match="of the held-out images are training images; expected none"):
        CopyTest.of(training, training[:20])


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="found 0 training and 3 held-out images"):
        CopyTest.of(torch.empty(0, 4), torch.zeros(3, 4))
