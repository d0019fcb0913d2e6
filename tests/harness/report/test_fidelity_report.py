"""Fidelity in the leaderboard, the page's table and LaTeX, from synthetic rows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from kit import tables

from harness.report.analysis.derive import derive
from harness.report.analysis.fidelity_table import fidelity_table
from harness.report.leaderboard import build_leaderboard
from harness.report.leaderboard_text import to_csv, to_latex, to_markdown
from harness.report.web.trial_columns import HIDDEN, ranked_cells
from harness.schema import METRICS

NOTHING = "no PSNR, SSIM or LPIPS: this is the run without acceleration"


def source() -> dict[str, pd.DataFrame]:
    """Return synthetic tables in which early exits were compared with the whole network."""
    made = tables.tables()
    trials = made["trials"].copy()
    exits = trials["denoiser"] == "early-exit"
    known: dict[str, Any] = {
        "psnr": 31.25, "psnr_low": 30.5, "psnr_high": 32.0, "psnr_worst_1pct": 17.5, "identical_share": 0.125,
        "ssim": 0.91, "ssim_low": 0.9, "ssim_high": 0.92, "partner": "unet-small:dpmpp-2m-8",
        "not_measured": "no LPIPS: the suite gives no file of its backbone (fidelity.lpips_backbone)",
    }  # fmt: skip
    for name, value in known.items():
        trials.loc[exits, name] = value
    trials.loc[~exits, "not_measured"] = NOTHING
    return {**made, "trials": trials}


@pytest.fixture(scope="module")
def analysis() -> Any:
    return derive(source())


def test_every_declared_metric_of_pairs_has_a_column_in_the_table(analysis: Any) -> None:
    section = fidelity_table(analysis)
    labels = [metric.label for metric in METRICS.values() if metric.source == "pairs"]
    assert [heading.rpartition(" ")[0] for heading in section.headings[2 : 2 + len(labels)]] == labels
    assert len(section.rows) == 4
    line = dict(zip(section.headings, section.rows[0], strict=True))
    assert line["Without acceleration"] == "unet-small:dpmpp-2m-8"
    assert line["PSNR, dB ↑"] == "31.2 [30.5, 32.0]"
    assert line["SSIM ↑"] == "0.910 [0.900, 0.920]"
    assert line["LPIPS ↓"] == "–"
    assert line["PSNR of the worst 1 %, dB"] == "17.5"
    assert line["Equal images"] == "12.5 %"
    assert "No LPIPS: the suite gives no file of its backbone (fidelity.lpips_backbone)." in section.notes


def test_the_leaderboard_has_one_column_with_reasons(analysis: Any) -> None:
    board = build_leaderboard(analysis)
    (one, *_) = board.classes
    place = [heading.key for heading in one.trials.headings].index("psnr")
    cells = {row[0].text: row[place] for row in one.trials.rows}
    texts = {cell.text for name, cell in cells.items() if "early-exit" in name}
    assert texts == {"31.2 [30.5, 32.0]"}
    others = {cell.notes for name, cell in cells.items() if "early-exit" not in name}
    assert others == {(NOTHING,)}
    assert NOTHING in to_markdown(board)
    assert "psnr_worst_1pct" in to_csv(board).splitlines()[0]


def test_latex_has_a_table_of_it_where_rows_were_compared(analysis: Any) -> None:
    board, section = build_leaderboard(analysis), fidelity_table(analysis)
    plain, text = to_latex(board), to_latex(board, {"Fidelity": section})
    assert text.startswith(plain[: plain.rindex(r"\begin{table}") - 200])
    assert r"\caption{Fidelity. All rows.}" in text
    assert "12.5 \\%" in text
    assert text.count(r"\begin{table}") == plain.count(r"\begin{table}") + 1
    empty = derive({**source(), "trials": tables.tables()["trials"]})
    assert to_latex(build_leaderboard(empty), {"Fidelity": fidelity_table(empty)}) == to_latex(build_leaderboard(empty))


def test_the_page_offers_the_columns_and_why_they_are_empty(analysis: Any) -> None:
    keys = [column.key for column in HIDDEN]
    assert {"psnr", "psnr_worst_1pct", "ssim", "lpips", "identical_share"} <= set(keys)
    rows = {row["method"]: row for one in analysis.classes for _, row in one.rows.iterrows()}
    cells = ranked_cells(rows["early-exit + dpmpp-2m"], {})
    assert cells["ssim"].text == "0.910 [0.900, 0.920]"
    assert cells["lpips"].notes[0].startswith("no LPIPS: ")
    assert ranked_cells(rows["ddim"], {})["ssim"].notes == (NOTHING,)
