"""Preparations on latents: FID is that of decoded pictures, and training images are refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.errors import UsageError
from harness.sampling.decoder import LatentDecoder
from harness.specs.sampler import LatentSpec
from harness.tasks import prepare_scored
from harness.tasks.prepare import Context
from harness.tasks.prepare_scored import ScoringContext


def test_training_images_are_refused() -> None:
    context = Context.__new__(Context)
    data = SimpleNamespace(name="latent-digits", latent=LatentSpec(channels=4, resolution=4, scaling_factor=0.5))
    context._spec = SimpleNamespace(model=SimpleNamespace(data=data), part="denoiser")  # type: ignore[assignment]
    context._method = SimpleNamespace(name="few-step")  # type: ignore[assignment]
    with pytest.raises(UsageError, match='denoiser "few-step" learns from training images, and the states of'):
        context.images()


def test_a_fid_is_that_of_decoded_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    class Pixels:
        batch = 2

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return images.flatten(1).float()

    context = ScoringContext.__new__(ScoringContext)
    context._scored = SimpleNamespace(extractor=None, reference_id="r")  # type: ignore[assignment]
    context._inputs, context._place = {"r": SimpleNamespace(tensors={})}, None  # type: ignore[assignment]
    context._decoder = _Brightens()  # type: ignore[assignment]
    reference: Any = SimpleNamespace(dim=1, frechet=None)
    monkeypatch.setattr(prepare_scored, "cached_extractor", lambda *_: Pixels())
    monkeypatch.setattr(prepare_scored, "frechet_distance", lambda *_: 1.5)
    monkeypatch.setattr(prepare_scored.ReferenceFeatures, "from_tensors", lambda _: reference)

    assert context.fid(torch.zeros(4, 4, 4, 4)) == 1.5
    assert torch.equal(torch.cat(seen), torch.full((4, 1, 1, 1), 255, dtype=torch.uint8))


class _Brightens(LatentDecoder):
    """Makes one white pixel of each state."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(states), 1, 1, 1)
