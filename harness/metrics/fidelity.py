"""Fidelity: how far images are from those of the same sampler without acceleration, each from the same noise.

Every metric of `harness.schema.METRICS` from pairs of images stands in `PAIR_METRICS`. Figures are means over images:
decibels are averaged, not squared errors. Equal images have no PSNR: they are left out of its mean, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from harness.metrics.image_pairs import WINDOW, ByImage, psnr_by_image, ssim_by_image
from harness.metrics.lpips import Lpips
from harness.metrics.scored_features import Figures
from harness.stats import GROUPS, group_bounds, interval

WORST_SHARE = 0.01
"""The quantile of PSNR that shows how much the worst images suffer."""
Pairs = Iterable[tuple[int, np.ndarray, np.ndarray]]
"""Index of the first image, images and their partners, uint8 [m, C, H, W], in index order."""


@dataclass(frozen=True)
class ComparedImages:
    """What each pair of images gave."""

    side: int
    """The shorter side of a picture, in pixels."""
    psnr: ByImage
    """In dB; infinity where both images are equal."""
    ssim: ByImage | None
    """None for pictures smaller than its window."""
    lpips: ByImage | None
    """None without a backbone."""
    groups: int
    """Of the jackknife: FID's, contiguous runs of image indices."""


def psnr_figures(compared: ComparedImages) -> Figures:
    """Return the mean PSNR of images that differ, its worst percentile, and the share of equal images."""
    psnr, n = compared.psnr, len(compared.psnr)
    found = Figures() if not np.isfinite(psnr).any() else _mean_figures("psnr", psnr, compared.groups)
    found.values["identical_share"] = float(np.isinf(psnr).mean())
    if "psnr" not in found.values:
        found.reasons.append(f"no PSNR: all {n} images equal those without acceleration")

    # equal images are better than all others
    worst = float(np.sort(psnr)[math.ceil(WORST_SHARE * n) - 1])
    if math.isfinite(worst):
        found.values["psnr_worst_1pct"] = worst
    elif "psnr" in found.values:
        found.reasons.append("no worst percentile of PSNR: more than 99 % of the images are equal")
    return found


def ssim_figures(compared: ComparedImages) -> Figures:
    """Return the mean SSIM over all images; none for pictures smaller than its window."""
    if compared.ssim is None:
        return Figures(
            reasons=[f"no SSIM: pictures of {compared.side} pixels a side are smaller than its window of {WINDOW}"]
        )
    return _mean_figures("ssim", compared.ssim, compared.groups)


def lpips_figures(compared: ComparedImages) -> Figures:
    """Return the mean LPIPS over all images; none without a backbone."""
    if compared.lpips is None:
        return Figures(reasons=["no LPIPS: the suite gives no file of its backbone (fidelity.lpips_backbone)"])
    return _mean_figures("lpips", compared.lpips, compared.groups)


PAIR_METRICS: dict[str, Callable[[ComparedImages], Figures]] = {
    "psnr": psnr_figures,
    "ssim": ssim_figures,
    "lpips": lpips_figures,
}
"""What computes each metric, by the name of its column."""


@dataclass
class Fidelity:
    """Figures of one trial, by column; one that has no value is left out, and `reasons` says why."""

    figures: dict[str, float] = field(default_factory=dict)
    replicates: list[dict[str, float]] = field(default_factory=list)
    """Figures without each jackknife group."""
    reasons: list[str] = field(default_factory=list)


def measure_fidelity(pairs: Pairs, n_images: int, groups: int = GROUPS, lpips: Lpips | None = None) -> Fidelity:
    """Return the fidelity of n_images; ValueError if images are missing or out of order, or pairs differ in shape."""
    compared = _compare(pairs, n_images, min(groups, n_images), lpips)
    fidelity = Fidelity(replicates=[{} for _ in range(compared.groups)])
    for compute in PAIR_METRICS.values():
        found = compute(compared)
        fidelity.figures |= found.values
        fidelity.reasons += found.reasons
        for name, values in found.replicates.items():
            for group, value in enumerate(values):
                fidelity.replicates[group][name] = value
    return fidelity


def _compare(pairs: Pairs, n_images: int, groups: int, lpips: Lpips | None) -> ComparedImages:
    parts: dict[str, list[ByImage]] = {"psnr": [], "ssim": [], "lpips": []}
    side = seen = 0
    for start, images, partners in _checked(pairs, n_images):
        side, seen = min(images.shape[2:]), start + len(images)
        one, other = torch.from_numpy(images), torch.from_numpy(partners)
        parts["psnr"].append(psnr_by_image(one, other))
        if side >= WINDOW:
            parts["ssim"].append(ssim_by_image(one, other))
        if lpips is not None:
            parts["lpips"].append(lpips.by_image(one, other))

    if seen != n_images:
        raise ValueError(f"found {seen} pairs of images; expected {n_images}")
    joined = {name: np.concatenate(values) if values else None for name, values in parts.items()}
    assert joined["psnr"] is not None
    return ComparedImages(side, joined["psnr"], joined["ssim"], joined["lpips"], groups)


def _checked(pairs: Pairs, n_images: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the pairs; ValueError where one is missing, or both images of one differ in shape."""
    if n_images < 1:
        raise ValueError(f"found {n_images} pairs of images; expected at least 1")
    expected = 0
    for start, images, partners in pairs:
        if start != expected or images.shape != partners.shape:
            raise ValueError(
                f"found pairs from index {start} of shapes {images.shape} and {partners.shape}; expected equal "
                f"shapes from index {expected}"
            )
        yield start, images, partners
        expected += len(images)


def _mean_figures(name: str, values: ByImage, groups: int) -> Figures:
    """Return the mean of the finite values with its jackknife interval; one at least is finite."""
    finite = np.isfinite(values)
    shown = np.where(finite, values, 0.0)
    found = Figures({name: float(shown.sum() / finite.sum())})
    if groups < 2:
        found.reasons.append(f"no interval of {name.upper()}: one image is no group to leave out")
        return found

    # without each group
    begins = group_bounds(len(values), groups)[:-1]
    sums, counts = np.add.reduceat(shown, begins), np.add.reduceat(finite.astype(np.int64), begins)
    left = finite.sum() - counts
    if not left.all():
        found.reasons.append(f"no interval of {name.upper()}: all images that differ are of one jackknife group")
        return found
    found.replicates[name] = ((shown.sum() - sums) / left).tolist()
    ends = interval(found.values[name], found.replicates[name])
    found.values |= {f"{name}_low": ends.low, f"{name}_high": ends.high}
    return found
