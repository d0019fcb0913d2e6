"""Quality of a network in training.

Held-out loss, copies of training images, and FID with many steps.

All but the weights is fixed: images, noise levels, noise. Two checks of a training are therefore
paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.config.zoo_card import Judged, TrainedOn
from harness.data.cards import DatasetCard
from harness.data.splits import load_split, load_whole_split
from harness.errors import HarnessError, UsageError
from harness.metrics.copies import CopyTest, image_vectors
from harness.metrics.extractors import Extractor, extractor_names, load_extractor
from harness.metrics.quality import Quality, measure_quality
from harness.metrics.reference import ReferenceFeatures, reference_of
from harness.registry import registry
from harness.sampling.noise import ImageNoise
from harness.sampling.pixels import to_unit
from harness.sampling.sampler import Sampler
from methods.networks.base import Network
from methods.networks.preconditioned import PreconditionedNetwork
from methods.networks.preconditioning import Draws

HELD_OUT_SPLIT = "test"
HELD_OUT_IMAGES = 1_000
"""At most so many images of the held-out split are used, evenly spaced."""
DRAWS = 16
"""Noise levels and noises per held-out image."""
LIMIT_IMAGES, LIMIT_SOLVER, LIMIT_STEPS = 1_200, "heun", 64
"""The limit: images, and steps of a second-order solver on the schedule edm, with seed set 0."""
QUICK_SOLVER, QUICK_STEPS = "dpmpp-2m", 20
"""How images are made during a training, to look for copies alone."""
_BATCH = 100
_DRAW_SEED = 20_261_126
_NO_FEATURES = "pixels"
_LEVELS = 100_000  # draws for the quantiles of noise levels


@dataclass(frozen=True)
class Limit:
    """A network's limit: quality of its images, and their distance to those of the training."""

    quality: Quality
    copy_rate: float
    nearest_median: float


class Judge:
    """Judges networks trained on one data set.

    Make it once: it holds splits and reference features.
    """

    def __init__(self, card: DatasetCard, train_split: str, flips: bool) -> None:
        if HELD_OUT_SPLIT not in card.splits or train_split == HELD_OUT_SPLIT:
            raise UsageError(
                f'data set "{card.name}" keeps no split "{HELD_OUT_SPLIT}" apart from "{train_split}"; expected one, '
                "by which the training is stopped"
            )
        self.card, self._split = card, train_split

        # the images of the training, evenly spaced ones of the held-out split
        self.training, self.held_out = load_whole_split(card, train_split), load_split(card, HELD_OUT_SPLIT)
        n = len(self.held_out.images)
        chosen = np.arange(n) if n <= HELD_OUT_IMAGES else np.arange(HELD_OUT_IMAGES) * n // HELD_OUT_IMAGES
        images = self.held_out.images[chosen]
        self._judged_by = to_unit(images)

        # the distance to a training image below which an image counts as a copy
        training = image_vectors(torch.from_numpy(self.training.images.copy()), flips)
        try:
            self.copies = CopyTest.of(training, image_vectors(torch.from_numpy(images)))
        except ValueError as error:
            raise UsageError(f'data set "{card.name}": {error}') from None

        self.extractor = load_extractor(_choose_extractor(card), device="cuda" if torch.cuda.is_available() else "cpu")
        self._noise = ImageNoise(card.name, 0, self._judged_by.shape[1:])
        self._reference: ReferenceFeatures | None = None

    @property
    def images(self) -> int:
        """Return how many held-out images are used."""
        return len(self._judged_by)

    @torch.inference_mode()
    def measure_held_out_loss(self, network: Network) -> float:
        """Return the mean training loss of held-out images, at fixed noise levels and noise."""
        if not isinstance(network, PreconditionedNetwork):
            raise UsageError(f'network family "{network.family}" has no loss by noise level; expected one that has')
        generator = torch.Generator().manual_seed(_DRAW_SEED)
        device = next(network.parameters()).device

        total, count = 0.0, 0
        for part in self._judged_by.split(_BATCH):
            for _ in range(DRAWS):
                drawn = network.preconditioning.draws(tuple(part.shape), generator)
                on_device = Draws(*(draw.to(device) for draw in drawn))
                loss = network.preconditioning.loss(network.raw, part.to(device), on_device, network.dtype)
                total += float(loss) * len(part)
                count += len(part)
        return total / count

    def describe_data(self) -> TrainedOn:
        """Return the entry of a card about the data."""
        return TrainedOn(
            name=self.card.name,
            split=self._split,
            pixels=self.training.fingerprint,
            variant=self.training.variant,
            images=len(self.training.images),
            held_out_split=HELD_OUT_SPLIT,
            held_out_pixels=self.held_out.fingerprint,
            held_out_images=self.images,
        )

    def describe_quality(self, network: Network, limit: Limit, limit_float32: Limit) -> Judged:
        """Return the entry of a card about a network's quality.

        Raises HarnessError if its images have no FID.
        """
        quality, exact = limit.quality, limit_float32.quality
        fid, low, high, floor = (
            quality.figures.get(name, math.nan) for name in ("fid", "fid_low", "fid_high", "fid_floor")
        )
        fid_float32 = exact.figures.get("fid", math.nan)

        if not math.isfinite(fid):
            raise HarnessError(f"the network's images have no FID ({'; '.join(quality.reasons)}); train it again")

        return Judged(
            held_out_loss=self.measure_held_out_loss(network),
            held_out_draws=DRAWS,
            # the limit, and how it was measured
            limit_fid=fid,
            limit_fid_low=low,
            limit_fid_high=high,
            limit_fid_float32=fid_float32,
            limit_floor=floor,
            limit_solver=LIMIT_SOLVER,
            limit_steps=LIMIT_STEPS,
            limit_images=LIMIT_IMAGES,
            extractor=f"{self.extractor.name}:{self.extractor.layer}",
            extractor_sha256=self.extractor.sha256,
            # distances to the nearest image of the training
            copy_rate=limit.copy_rate,
            copy_rate_highest=self.copies.highest_rate(LIMIT_IMAGES),
            copy_distance=self.copies.threshold,
            nearest_median=limit.nearest_median,
            nearest_median_held_out=self.copies.held_out_median,
        )

    def has_same_rules(self, judged: Judged) -> bool:
        """Tell whether a card's limit was measured by the rules of this judge."""
        own = (LIMIT_SOLVER, LIMIT_STEPS, LIMIT_IMAGES, self.extractor.sha256)
        return own == (judged.limit_solver, judged.limit_steps, judged.limit_images, judged.extractor_sha256)

    def measure_copy_rate(self, network: Network) -> float:
        """Return the share of copies, in [0, 1], among images made in few steps."""
        return self.copies.rate(image_vectors(self._sample_images(network, QUICK_SOLVER, QUICK_STEPS)))

    def measure_limit(self, network: Network) -> Limit:
        """Return the quality of the network's images when its flow is solved in many steps."""
        return self.measure_samples(network, LIMIT_SOLVER, LIMIT_STEPS)

    def measure_samples(self, network: Network, solver: str, steps: int) -> Limit:
        """Return the quality of images that a solver makes in so many steps of the schedule edm."""
        images = self._sample_images(network, solver, steps)

        distances = self.copies.distances(image_vectors(images))
        features = self.extractor(images).cpu().numpy()
        quality = measure_quality([(0, features)], self._load_reference_features(), len(images))
        rate = float((distances < self.copies.threshold).double().mean())
        return Limit(quality, rate, float(distances.median()))

    def _sample_images(self, network: Network, solver: str, steps: int) -> Tensor:
        """Return uint8 images [LIMIT_IMAGES, C, H, W] from the noise of seed set 0."""
        schedule = registry().make("schedule", "edm", {})
        sampler = Sampler(
            denoiser=registry().make("denoiser", "full", {}).build(network, None),
            sigmas=schedule.levels(steps, *network.params.range_within(self.card.sigma_min, self.card.sigma_max), None),
            solver=registry().make("solver", solver, {}),
            executor=registry().make("executor", "serial", {}),
            noise=self._noise,
            device=next(network.parameters()).device,
        )

        starts = range(0, LIMIT_IMAGES, _BATCH)
        return torch.cat([sampler.images(range(i, min(i + _BATCH, LIMIT_IMAGES))) for i in starts])

    def _load_reference_features(self) -> ReferenceFeatures:
        if self._reference is None:
            images = load_split(self.card, self.card.reference).images
            self._reference = reference_of(_compute_features(self.extractor, images))
        return self._reference


def _compute_features(extractor: Extractor, images: np.ndarray) -> np.ndarray:
    parts = range(0, len(images), extractor.batch)
    return np.concatenate(
        [extractor(torch.from_numpy(images[i : i + extractor.batch].copy())).cpu().numpy() for i in parts]
    )


def _choose_extractor(card: DatasetCard) -> str:
    """Return the feature network made for a data set, else the pixels."""
    own = f"{card.name}-cnn"
    return own if own in extractor_names() else _NO_FEATURES


def trained_noise_levels(network: Network) -> tuple[float, float]:
    """Return the noise levels between which 99.8 % of the training's draws lie."""
    assert isinstance(network, PreconditionedNetwork)  # else it had no held-out loss
    sigma = network.preconditioning.draws((_LEVELS, 1), torch.Generator().manual_seed(_DRAW_SEED)).sigma
    low, high = torch.quantile(sigma.double(), torch.tensor([0.001, 0.999], dtype=torch.float64))
    return float(low), float(high)
