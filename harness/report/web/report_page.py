"""Puts report.html together: what stands above the tables, the tables, families, the folded parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pandas import DataFrame

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.derive import Analysis
from harness.report.family_colors import family_color
from harness.report.figures.draw import CAPTIONS
from harness.report.formats import Section
from harness.report.leaderboard import Leaderboard
from harness.report.page import read_template, render_page
from harness.report.sections import price_table, provenance_table, step_table, timing_table, verdict_table
from harness.report.web.bundle import datatables_bundle
from harness.report.web.definitions import page_definitions
from harness.report.web.families import make_families
from harness.report.web.method_tables import methods_data
from harness.report.web.page_head import page_head
from harness.report.web.page_rows import FACETS, page_rows
from harness.report.web.sample_files import data_url, strip_addresses
from harness.report.web.target_tables import targets_data
from harness.report.web.top import make_top
from harness.report.web.trial_details import trial_details

SCRIPTS = ("report-rows.js", "report-details.js", "report-tables.js", "report-copy.js", "report-bar.js")
"""Our scripts, which share one scope, in the order in which they run."""


def render_report(
    analysis: Analysis,
    board: Leaderboard,
    pairs: Sequence[Comparison],
    plots: Mapping[str, bytes],
    pictures: Mapping[str, np.ndarray],
    compared: Mapping[str, Section],
    apart: Section,
    title: str = "",
) -> str:
    """Return report.html.

    `plots` are the figures by file name, `pictures` the samples by trial_id, `compared` further tables by title.
    `apart` lists the rows of other plans. `title` is the suite's, empty where it is not known.
    """
    rows = page_rows(analysis)
    pictures = {trial_id: pictures[trial_id] for trial_id in rows["trial_id"] if trial_id in pictures}
    families = make_families(analysis, board, pairs, plots)
    apart_figures = {figure.file for one in families for figure in one.figures}
    figures = [
        (_caption(name), data_url("image/svg+xml", data))
        for name, data in plots.items()
        if name.endswith(".svg") and name not in apart_figures
    ]

    # above the tables, the tables
    top = make_top(analysis, board, pairs, pictures)
    data = _page_data(analysis, board, pairs, rows, strip_addresses(pictures))
    tables = datatables_bundle()

    return render_page(
        "report.html.j2",
        scripts=(*top.scripts, tables.script, _own_script()),
        styles=(read_template("report.css"), read_template("top.css")),
        head=page_head(analysis, board.counts, title),
        board=board,
        top=top,
        data=data,
        families=families,
        figures=figures,
        # folded
        verdicts=verdict_table(analysis),
        compared=compared,
        steps=step_table(analysis),
        timings=timing_table(analysis),
        prices=price_table(analysis),
        provenance=provenance_table(analysis),
        others=apart,
        definitions=page_definitions(data["tables"]),
        libraries=(*top.libraries, tables.note),
    )


def _page_data(
    analysis: Analysis, board: Leaderboard, pairs: Sequence[Comparison], rows: DataFrame, strips: Mapping[str, str]
) -> dict[str, Any]:
    """Return the block of data from which the page builds its tables."""
    methods, known = methods_data(analysis, board, rows), analysis.families
    found = sorted(set(rows["family"]))
    return {
        "classes": [{"title": one.title, "banner": one.banner} for one in board.classes],
        "facets": [name for _, name in FACETS],
        "families": {name: [family_color(name, known, dark) for dark in (False, True)] for name in found},
        "tables": [*methods.tables, *targets_data(board)],
        "trials": methods.trials,
        "details": trial_details(analysis, pairs, rows, strips),
    }


def _own_script() -> str:
    parts = "\n".join(read_template(name) for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _caption(name: str) -> str:
    """Return the caption of a figure file; those of later classes end in the class's number."""
    stem = name.removesuffix(".svg")
    if stem in CAPTIONS:
        return CAPTIONS[stem]
    stem, _, place = stem.rpartition("-")
    return f"{CAPTIONS[stem]} (Resource class {place} of the leaderboard.)"
