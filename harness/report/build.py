"""Rebuild everything a person reads of a results folder, from its tables alone: leaderboard, plots, one offline page.

The bytes depend on the rows only, not on their order, the machine, the time or the process. Everything is rendered
before the first file is replaced, so a crash while rendering leaves the old report; the page itself comes last.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from pandas import DataFrame

from harness.report.analysis.calibration import calibration_table
from harness.report.analysis.comparisons import against_controls, against_whole, comparisons
from harness.report.analysis.comparisons import to_csv as comparisons_csv
from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.derived import DERIVED
from harness.report.analysis.equal_distance import equal_distance
from harness.report.analysis.parallel import overlapped, virtual
from harness.report.analysis.rows import typed
from harness.report.analysis.search_spread import search_spread
from harness.report.analysis.tuned_truncation import tuned_truncation
from harness.report.figures.draw import CAPTIONS, draw_all
from harness.report.leaderboard import Leaderboard, build
from harness.report.leaderboard_text import to_csv, to_latex, to_markdown
from harness.report.page import render_page
from harness.report.sections import (
    Section,
    other_rows,
    price,
    provenance,
    sample_rows,
    step_summary,
    timing_summary,
    verdicts,
)
from harness.schema import TRIALS
from harness.storage.disk import read_regular, replace, swapped_folder

AGAINST_WHOLE = "Against the whole network, at equal steps"
AGAINST_CONTROLS = "Claims and their controls"
TUNED_TRUNCATION = "Tuned networks: how far their images lie from the untuned network's flow, and from their own"
SEARCH_SPREAD = "Searches repeated from other seeds"
OVERLAPPED = "Steps that overlap, beside the serial run of the same steps"
EQUAL_DISTANCE = "Executors at equal distance to the serial answer"
CALIBRATION = "Uncertainty predicted, beside the true one"
VIRTUAL = "Virtual time, a model's and never ranked: devices that were not there"
OTHERS = "Rows that are not of this plan"
_TRIAL_ID = re.compile(r"[0-9a-f]{64}")  # the name becomes a path: nothing else may
_LARGEST_SAMPLE = 8 << 20


def build_report(folder: Path, tables: Mapping[str, DataFrame], others: DataFrame | None = None) -> list[Path]:
    """Write comparisons.csv, leaderboard.md .csv .tex .html, plots and report.html into folder; return their paths.

    `others` are trials of other plans: they are named, and are part of no table, figure or rank.
    """
    analysis = derive(tables)
    board = build(analysis)
    plots = draw_all(analysis)
    samples = _samples(folder / "samples", analysis)
    pairs = comparisons(analysis)
    compared = {
        AGAINST_WHOLE: against_whole(pairs),
        AGAINST_CONTROLS: against_controls(pairs),
        SEARCH_SPREAD: search_spread(analysis),
        TUNED_TRUNCATION: tuned_truncation(analysis),
        CALIBRATION: calibration_table(analysis),
        OVERLAPPED: overlapped(analysis),
        EQUAL_DISTANCE: equal_distance(analysis),
        VIRTUAL: virtual(analysis),
    }
    apart = other_rows(typed("trials", others))
    texts = {
        "comparisons.csv": comparisons_csv(pairs),
        "leaderboard.md": to_markdown(board, {**compared, OTHERS: apart}),
        "leaderboard.csv": to_csv(board),
        "leaderboard.tex": to_latex(board),
        "leaderboard.html": render_page("leaderboard.html.j2", board=board),
        "report.html": _report(analysis, board, plots, samples, compared, apart),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with swapped_folder(folder / "plots") as fresh:
        for name, data in plots.items():
            (fresh / name).write_bytes(data)
    for name, text in texts.items():
        replace(folder / name, text.encode())
    return [*(folder / "plots" / name for name in plots), *(folder / name for name in texts)]


def _report(
    analysis: Analysis,
    board: Leaderboard,
    plots: dict[str, bytes],
    samples: dict[str, str],
    compared: Mapping[str, Section],
    apart: Section,
) -> str:
    figures = [
        (_caption(name), _data_url("image/svg+xml", data)) for name, data in plots.items() if name.endswith(".svg")
    ]
    return render_page(
        "report.html.j2",
        board=board,
        verdicts=verdicts(analysis),
        compared=compared,
        figures=figures,
        samples=sample_rows(analysis, samples),
        steps=step_summary(analysis),
        timings=timing_summary(analysis),
        prices=price(analysis),
        provenance=provenance(analysis),
        others=apart,
        definitions=[*((column.name, column.sentence) for column in TRIALS.columns), *DERIVED.items()],
    )


def _caption(name: str) -> str:
    """Return the caption of a figure; those of later resource classes end in the class's number."""
    stem = name.removesuffix(".svg")
    if stem in CAPTIONS:
        return CAPTIONS[stem]
    stem, _, place = stem.rpartition("-")
    return f"{CAPTIONS[stem]} (Resource class {place} of the leaderboard.)"


def _samples(folder: Path, analysis: Analysis) -> dict[str, str]:
    """Return trial_id -> data URL of the sample grids that exist as regular PNG files of a sensible size."""
    found = {}
    for trial_id in analysis.trials["trial_id"]:
        path = folder / f"{trial_id}.png"
        if not _TRIAL_ID.fullmatch(trial_id) or not path.is_file() or path.is_symlink():
            continue
        data = read_regular(path)
        if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) <= _LARGEST_SAMPLE:
            found[trial_id] = _data_url("image/png", data)
    return found


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
