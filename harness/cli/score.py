"""The verb `score`: quality of images that anybody's code made, by the very functions of the tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file

from harness.cli.check import shown_while
from harness.cli.reference import choose_extractor
from harness.config.suite import ReferenceSettings
from harness.data.cards import DatasetCard, load_card
from harness.data.disk_array import release_pages
from harness.data.own_images import OwnImages, open_own_images
from harness.data.shipped_reference import find_shipped_reference
from harness.data.splits import count_images, load_split
from harness.errors import UsageError
from harness.fetching.lookup import find_extractor_weights, find_file
from harness.measure.usable_cores import count_worker_cores
from harness.metrics.extractors import Extractor, extractor_spec, load_extractor
from harness.metrics.feature_stream import Shard
from harness.metrics.quality import Quality, measure_quality
from harness.metrics.reference import ReferenceCollector, ReferenceFeatures
from harness.metrics.statistics_file import read_statistics
from harness.planning.absent import AbsentThings
from harness.planning.quality_checks import check_picture_size, feature_count
from harness.planning.reference_statistics import statistics_spec
from harness.sampling.numerics import fixed_numerics
from harness.sampling.pixels import image_digests
from harness.specs.reference import StatisticsSpec
from harness.specs.sampler import ExtractorSpec
from harness.stats import interval
from harness.tasks.reference import feature_blocks

_WITH_INTERVALS = ("fid", "kid", "precision", "recall")


@dataclass(frozen=True)
class ImageScore:
    """Figures of images, and all that they depend on."""

    images: OwnImages
    dataset: str
    reference: str
    """The split with the SHA-256 of its pixels, or the file of statistics with its own."""
    extractor: ExtractorSpec
    quality: Quality
    images_sha256: str
    """Of the pixels in order, as a row of a run with these images has it."""

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the ends of the 95 % intervals (delete-a-group jackknife), by figure."""
        found = {}
        for name in _WITH_INTERVALS:
            without = [one[name] for one in self.quality.replicates if name in one]
            if without:
                figures = self.quality.figures
                ends = interval(figures[name], without)
                found[name] = figures.get(f"{name}_low", ends.low), figures.get(f"{name}_high", ends.high)
        return found

    def cautions(self) -> tuple[str, ...]:
        """Return sentences on what is odd about the images and their figures."""
        figures, copies = self.quality.figures, self.quality.copies
        found = list(self.images.cautions)
        if copies is not None and copies.rate > copies.highest:
            found.append(
                f"{copies.rate:.1%} of the images are copies of reference images, by chance {copies.highest:.1%} at "
                "most: such images have a good FID, whatever made them"
            )
        if figures.get("fid", 0.0) < figures.get("fid_least", 0.0):
            found.append(
                f"FID is below {figures['fid_least']:.4g}, under which as many images of the reference itself come "
                "once in a million draws"
            )
        return tuple(found)


def score_images(place: Path, dataset: str, extractor: str | None, statistics: Path | None) -> ImageScore:
    """Return the figures of images against a data set's reference split, or a file of its statistics.

    `extractor` is a feature network by name, or NAME:PATH with its weights; None takes the shipped one that fits.
    UsageError, before anything is computed, for images, statistics and feature networks that do not fit together, and
    for too few images. Blocks until all is computed.
    """
    # what is scored, by what, against what
    card = load_card(dataset)
    name, _, path = choose_extractor(card, extractor).partition(":")
    weights = find_extractor_weights(name, Path(path) if path else None)
    spec = extractor_spec(name, weights)
    check_picture_size(card, spec)
    images = open_own_images(place, card)
    given = None if statistics is None else _check_statistics(find_file(statistics), card, spec, extractor is not None)
    _check_enough(images, card, spec, count_images(card, card.reference) if given is None else given.n)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shown = shown_while(f"scoring {images.n:,} images by {spec.name} on {device.type}")
    with fixed_numerics(device, count_worker_cores()), shown:
        network = load_extractor(name, weights, device)
        reference, said = _reference(card, spec, network, given)
        digest = hashlib.sha256()
        quality = measure_quality(_features(images, network, digest), reference, images.n)
    return ImageScore(images, card.name, said, spec, quality, digest.hexdigest())


def score_lines(score: ImageScore) -> Iterator[str]:
    """Yield the figures as printed: what was scored, a line for each figure, and why one is missing."""
    n, spec, figures, ends = score.quality.reference_n, score.extractor, score.quality.figures, score.intervals()
    of = "an unstated number of" if n is None else f"{n:,}"
    yield f"{score.images.n:,} images of {score.images.place} against {of} images of {score.dataset}, {score.reference}"
    yield f"feature network {spec.name} ({spec.layer}, resize {spec.resize}), SHA-256 {spec.sha256}"

    for label, name in (("FID", "fid"), ("KID", "kid"), ("precision", "precision"), ("recall", "recall")):
        if name in figures:
            between = "  [{:.6g}, {:.6g}]".format(*ends[name]) if name in ends else ""
            floor = f"  floor {figures['fid_floor']:.6g}" if name == "fid" and "fid_floor" in figures else ""
            yield f"{label:10} {figures[name]:.6g}{between}{floor}"
    yield from score.quality.reasons


def describe_score(score: ImageScore) -> dict[str, Any]:
    """Return the figures by their names in tables, and all that they depend on, for JSON."""
    copies = score.quality.copies
    return {
        "images": str(score.images.place),
        "n_images": score.images.n,
        "images_sha256": score.images_sha256,
        "dataset": score.dataset,
        "reference": score.reference,
        "reference_n": score.quality.reference_n,
        "extractor": score.extractor.model_dump(mode="json", include={"name", "layer", "resize", "dim", "sha256"}),
        # what was found
        "figures": dict(score.quality.figures),
        "intervals": {name: list(ends) for name, ends in score.intervals().items()},
        "copies": None if copies is None else copies.model_dump(mode="json"),
        "not_measured": list(score.quality.reasons),
        "cautions": list(score.cautions()),
    }


def _check_statistics(path: Path, card: DatasetCard, spec: ExtractorSpec, is_stated: bool) -> StatisticsSpec:
    """Return the spec of a file of statistics; the user's --extractor states what made a file that does not say it."""
    if path.is_file() and not read_statistics(path, str(path)).stated and not is_stated:
        raise UsageError(f"{path} does not say which feature network made it; expected its name as --extractor NAME")
    stated = (spec.name, spec.resize) if is_stated else (None, None)
    settings = ReferenceSettings(statistics=str(path), extractor=stated[0], resize=stated[1])
    return statistics_spec(settings, card, spec, AbsentThings(are_allowed=False))


def _check_enough(images: OwnImages, card: DatasetCard, spec: ExtractorSpec, reference_n: int | None) -> None:
    """Raise UsageError where there can be no FID: it needs more images than features, on both sides."""
    dim = feature_count(spec, card)
    for n, which in ((images.n, f"images in {images.place}"), (reference_n, f'reference images of "{card.name}"')):
        if n is not None and n <= dim:
            raise UsageError(
                f"found {n:,} {which} for the {dim:,} features of {spec.name}; FID needs more images than features, so "
                f"{dim + 1:,} or more"
            )


def _reference(
    card: DatasetCard, spec: ExtractorSpec, network: Extractor, given: StatisticsSpec | None
) -> tuple[ReferenceFeatures, str]:
    """Return what the images are compared with, as a run compares its own, and what it is called."""
    if given is not None:
        return read_statistics(Path(given.path), given.path).reference(given.n), given.title
    if (shipped := find_shipped_reference(card, spec)) is not None:
        reference = ReferenceFeatures.from_tensors(load_file(shipped.path))
        return reference, f"split {shipped.split} {shipped.pixels}, its features shipped"
    split = load_split(card, card.reference)
    collected = ReferenceCollector(len(split.images))
    for _, block in feature_blocks(network, split.images):
        collected.append(block)
        release_pages(split.images)
    return collected.result(), f"split {card.reference} {split.fingerprint}"


def _features(images: OwnImages, network: Extractor, digest: Any) -> Iterator[Shard]:
    """Yield (index of the first image, features) of a batch of the feature network at a time."""
    start = 0
    for block in images.read_blocks(network.batch):
        pixels = torch.from_numpy(block)
        digest.update(image_digests(pixels).tobytes())
        yield start, network(pixels).cpu().numpy()
        start += len(block)
