"""Quality figures: each metric is declared once; rows, tables and boards read the declaration.

A metric from features is computed by a function that `harness.metrics.quality` lists under its name. A new one is a
declaration here, that function in a file of `harness/metrics/`, and its line there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.schema.column import REAL, Column


@dataclass(frozen=True)
class Metric:
    """One figure of quality of a trial's images."""

    label: str
    """Heading of boards and axes."""
    lower_is_better: bool
    source: Literal["features", "states", "pairs"]
    """What it is computed from: features of scored images, distances of final states to exact ones, or images and
    those of the same noise without acceleration."""
    columns: tuple[Column, ...]
    """In the table `trials`: the figure itself first, then ends of its interval and what else belongs to it."""
    replicate: Column | None = None
    """In the table `quality`: the figure without one jackknife group; None where there is none."""

    @property
    def name(self) -> str:
        """Return the name of the figure's column."""
        return self.columns[0].name

    @property
    def standard_error(self) -> str | None:
        """Return the name of the column of its standard error, if it has one."""
        return next((column.name for column in self.columns if column.name == f"{self.name}_se"), None)


FID = Metric(
    label="FID",
    lower_is_better=True,
    source="features",
    columns=(
        Column("fid", REAL, "Frechet distance of the named extractor's features to the reference set."),
        Column("fid_low", REAL, "Lower end of the 95 % interval of fid (delete-a-group jackknife, t)."),
        Column("fid_high", REAL, "Upper end of the 95 % interval of fid."),
        Column("fid_floor", REAL, "Bias floor b/N of fid: what a perfect sampler would still show at these N."),
        Column(
            "fid_least",
            REAL,
            "FID of as many images drawn from the reference set itself falls below it by chance, once in a million.",
        ),
    ),
    replicate=Column("fid", REAL, "Frechet distance without that group."),
)
KID = Metric(
    label="KID",
    lower_is_better=True,
    source="features",
    columns=(
        Column("kid", REAL, "Kernel distance over all pairs (cubic polynomial kernel), unbiased, may be negative."),
        Column("kid_se", REAL, "Jackknife standard error of kid."),
    ),
    replicate=Column("kid", REAL, "Kernel distance without that group."),
)
PRECISION = Metric(
    label="Precision",
    lower_is_better=False,
    source="features",
    columns=(
        Column("precision", REAL, "Share of generated images inside the reference manifold (k = 3)."),
        Column("precision_low", REAL, "Lower end of the 95 % interval of precision (delete-a-group jackknife, t)."),
        Column("precision_high", REAL, "Upper end of the 95 % interval of precision."),
    ),
    replicate=Column("precision", REAL, "Precision without that group of generated images."),
)
RECALL = Metric(
    label="Recall",
    lower_is_better=False,
    source="features",
    columns=(
        Column("recall", REAL, "Share of reference images inside the generated manifold (k = 3)."),
        Column("recall_low", REAL, "Lower end of the 95 % interval of recall (delete-a-group jackknife, t)."),
        Column("recall_high", REAL, "Upper end of the 95 % interval of recall."),
    ),
    replicate=Column("recall", REAL, "Recall without that group of generated images."),
)
TRUNCATION_ERROR = Metric(
    label="Truncation error, relative RMS",
    lower_is_better=True,
    source="states",
    columns=(
        Column(
            "truncation_error",
            REAL,
            "Relative RMS distance to the exact solution from the same noise; where that is not known and the suite "
            "asks for it, to a fine solution of the whole network before any tuning.",
        ),
        Column("truncation_error_low", REAL, "Lower end of its 95 % interval (delete-a-group jackknife, t)."),
        Column("truncation_error_high", REAL, "Upper end of the 95 % interval of truncation_error."),
    ),
    replicate=Column(
        "truncation_error",
        REAL,
        "Truncation error without that group of the truncation_images images it was taken over.",
    ),
)
OWN_TRUNCATION_ERROR = Metric(
    label="Own truncation error, relative RMS",
    lower_is_better=True,
    source="states",
    columns=(
        Column(
            "own_truncation_error",
            REAL,
            "Relative RMS distance to a fine solution of the network that the denoiser was tuned to, from the same "
            "noise, over the same images; empty where nothing was tuned or what was tuned has no flow of its own.",
        ),
        Column("own_truncation_error_low", REAL, "Lower end of its 95 % interval (delete-a-group jackknife, t)."),
        Column("own_truncation_error_high", REAL, "Upper end of the 95 % interval of own_truncation_error."),
    ),
    replicate=Column("own_truncation_error", REAL, "The same, to the solution of the tuned network."),
)
PSNR = Metric(
    label="PSNR, dB",
    lower_is_better=False,
    source="pairs",
    columns=(
        Column(
            "psnr",
            REAL,
            "Mean over images of 10 log10(255^2 / MSE) to the image of the trial named in `partner` from the same "
            "noise; equal images, which have none, are left out.",
        ),
        Column("psnr_low", REAL, "Lower end of its 95 % interval (delete-a-group jackknife, t)."),
        Column("psnr_high", REAL, "Upper end of the 95 % interval of psnr."),
        Column("psnr_worst_1pct", REAL, "1 % quantile over all images of the same, equal images above all others."),
        Column("identical_share", REAL, "Share of images that equal the partner's in every pixel."),
    ),
    replicate=Column("psnr", REAL, "PSNR without that group."),
)
SSIM = Metric(
    label="SSIM",
    lower_is_better=False,
    source="pairs",
    columns=(
        Column(
            "ssim",
            REAL,
            "Mean structural similarity to the partner's images (Gaussian window 11, sigma 1.5, within the picture).",
        ),
        Column("ssim_low", REAL, "Lower end of its 95 % interval (delete-a-group jackknife, t)."),
        Column("ssim_high", REAL, "Upper end of the 95 % interval of ssim."),
    ),
    replicate=Column("ssim", REAL, "SSIM without that group."),
)
LPIPS = Metric(
    label="LPIPS",
    lower_is_better=True,
    source="pairs",
    columns=(
        Column(
            "lpips",
            REAL,
            "Mean LPIPS 0.1 on AlexNet to the partner's images; pictures with a side below 64 are enlarged to 64.",
        ),
        Column("lpips_low", REAL, "Lower end of its 95 % interval (delete-a-group jackknife, t)."),
        Column("lpips_high", REAL, "Upper end of the 95 % interval of lpips."),
    ),
    replicate=Column("lpips", REAL, "LPIPS without that group."),
)

METRICS = {
    metric.name: metric
    for metric in (
        FID, KID, PRECISION, RECALL, TRUNCATION_ERROR, OWN_TRUNCATION_ERROR, PSNR, SSIM, LPIPS,
    )
}  # fmt: skip
"""Every metric by the name of its column, in the order of the columns."""
