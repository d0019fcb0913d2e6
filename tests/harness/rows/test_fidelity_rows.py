"""What a row shows of a comparison with the run without acceleration."""

from __future__ import annotations

from typing import Any

from kit.row_outputs import outputs, score, spec

from harness.rows.row import finished_tables
from harness.specs.fidelity import FidelityOutput
from harness.specs.score import Replicate

FOUND = FidelityOutput(
    figures={"psnr": 30.0, "psnr_low": 29.0, "psnr_high": 31.0, "identical_share": 0.25, "lpips": 0.1},
    replicates=[Replicate(group=group, figures={"psnr": 30.0 + group}) for group in range(4)],
    reasons=["no SSIM: pictures of 8 pixels a side are smaller than its window of 11"],
)
COMPARED = {"fidelity_id": "pairs", "partner": "unet-8:ddim-2", "backbone_sha256": "ab" * 32, "no_partner": ""}


def tables(pairs: FidelityOutput | None, **fields: Any) -> dict[str, Any]:
    more = {} if pairs is None else {"pairs": pairs}
    return finished_tables(spec(**{**COMPARED, **fields}), outputs(**more), {}, {})


def test_figures_and_replicates_stand_in_the_row_and_the_table_of_quality() -> None:
    found = tables(FOUND)
    (row,) = found["trials"]
    assert (row["psnr"], row["psnr_low"], row["identical_share"], row["lpips"]) == (30.0, 29.0, 0.25, 0.1)
    assert (row["partner"], row["lpips_sha256"]) == ("unet-8:ddim-2", "ab" * 32)
    assert [one["psnr"] for one in found["quality"]] == [30.0, 31.0, 32.0, 33.0]
    assert [one["fid"] for one in found["quality"]] == [one.figures["fid"] for one in score(3.0).replicates]
    assert row["not_measured"] == FOUND.reasons[0]


def test_a_row_without_a_partner_says_why() -> None:
    (row,) = tables(None, fidelity_id=None, partner="", no_partner="this is the run without acceleration")["trials"]
    assert "psnr" not in row
    assert row["partner"] is None
    assert row["not_measured"] == "no PSNR, SSIM or LPIPS: this is the run without acceleration"


def test_a_comparison_that_failed_leaves_the_row_with_its_reason() -> None:
    (row,) = tables(None)["trials"]
    assert row["partner"] == "unet-8:ddim-2"
    assert row["not_measured"].startswith(
        "no PSNR, SSIM or LPIPS: the images of the run without acceleration could not"
    )
    assert row["status"] == "finished"


def test_no_backbone_is_named_where_there_is_no_lpips() -> None:
    figures = {"psnr": 30.0, "identical_share": 0.0}
    (row,) = tables(FOUND.model_copy(update={"figures": figures}))["trials"]
    assert row["lpips_sha256"] is None
