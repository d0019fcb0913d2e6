"""What a row shows of its fidelity to the same sampler without acceleration, and why it may show none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.specs.fidelity import FidelityOutput
from harness.specs.row import RowSpec

if TYPE_CHECKING:
    from harness.schema import Row

NOTHING = "no PSNR, SSIM or LPIPS"


def fidelity_columns(spec: RowSpec, found: FidelityOutput | None) -> Row:
    """Return the figures, and what they compare with; nothing where the comparison is not there."""
    if found is None:
        return {"partner": spec.partner or None}
    has_lpips = "lpips" in found.figures
    return {**found.figures, "partner": spec.partner, "lpips_sha256": spec.backbone_sha256 if has_lpips else None}


def fidelity_reasons(spec: RowSpec, found: FidelityOutput | None) -> list[str]:
    """Return why figures are missing, a sentence each."""
    if found is not None:
        return found.reasons
    return [f"{NOTHING}: {spec.no_partner or 'the images of the run without acceleration could not be compared'}"]
