"""Puts report.html together: what stands above the tables, the tables, families, the folded parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.derive import Analysis
from harness.report.analysis.derived import DERIVED
from harness.report.figures.draw import CAPTIONS
from harness.report.formats import Section
from harness.report.leaderboard import Leaderboard
from harness.report.page import render_page
from harness.report.sections import (
    price_table,
    provenance_table,
    sample_grids,
    step_table,
    timing_table,
    verdict_table,
)
from harness.report.web.families import make_families
from harness.report.web.sample_files import data_url, read_sample_files
from harness.report.web.top import make_top
from harness.schema import TRIALS


def render_report(
    analysis: Analysis,
    board: Leaderboard,
    pairs: Sequence[Comparison],
    plots: Mapping[str, bytes],
    samples: Path,
    compared: Mapping[str, Section],
    apart: Section,
) -> str:
    """Return report.html.

    `plots` are the figures by file name, `samples` the folder of sample grids, `compared` further tables by title.
    `apart` lists the rows of other plans.
    """
    grids = {trial_id: data_url("image/png", data) for trial_id, data in read_sample_files(samples, analysis).items()}
    figures = [
        (_caption(name), data_url("image/svg+xml", data)) for name, data in plots.items() if name.endswith(".svg")
    ]
    top = make_top(analysis, board, pairs, {})

    return render_page(
        "report.html.j2",
        scripts=top.scripts,
        board=board,
        top=top,
        families=make_families(analysis, board, pairs, plots),
        verdicts=verdict_table(analysis),
        compared=compared,
        figures=figures,
        samples=sample_grids(analysis, grids),
        # further tables
        steps=step_table(analysis),
        timings=timing_table(analysis),
        prices=price_table(analysis),
        provenance=provenance_table(analysis),
        others=apart,
        definitions=[*((column.name, column.sentence) for column in TRIALS.columns), *DERIVED.items()],
    )


def _caption(name: str) -> str:
    """Return the caption of a figure file; those of later classes end in the class's number."""
    stem = name.removesuffix(".svg")
    if stem in CAPTIONS:
        return CAPTIONS[stem]
    stem, _, place = stem.rpartition("-")
    return f"{CAPTIONS[stem]} (Resource class {place} of the leaderboard.)"
