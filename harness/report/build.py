"""Rebuilds the report of a results folder from its tables: leaderboard, plots, one offline page.

The bytes depend on the rows only, not on their order, the machine, the time or the process.
Everything is rendered and written elsewhere before the first file is replaced, and the page is replaced last.
So a failure leaves the old report whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pandas import DataFrame

from harness.report.analysis.calibration import calibration_table
from harness.report.analysis.claimed_figures import claims_table
from harness.report.analysis.comparison_tables import comparisons_csv, controls_table, whole_network_table
from harness.report.analysis.comparisons import find_comparisons
from harness.report.analysis.derive import derive
from harness.report.analysis.effects_table import effects_parquet, effects_table
from harness.report.analysis.equal_distance import equal_distance_table
from harness.report.analysis.factorial_effects import find_designs, find_effects
from harness.report.analysis.fidelity_table import fidelity_table
from harness.report.analysis.gain_chains import find_gains
from harness.report.analysis.gains import gains_csv, gains_table, one_part_table
from harness.report.analysis.parallel import parallel_table, virtual_table
from harness.report.analysis.rows import typed_table
from harness.report.analysis.search_spread import search_spread_table
from harness.report.analysis.tuned_truncation import tuned_truncation_table
from harness.report.facts import ClaimFacts, MethodFacts
from harness.report.figures.draw import draw_all
from harness.report.leaderboard import build_leaderboard
from harness.report.leaderboard_text import to_csv, to_latex, to_markdown
from harness.report.page import render_page
from harness.report.quality_csv import pivot_csv, time_to_quality_csv
from harness.report.sections import other_rows_table
from harness.report.web.report_page import render_report
from harness.report.web.sample_files import read_samples
from harness.storage.swap import replace_together

CLAIMED = "Published figures: claimed, measured here, conditions"
BROUGHT = "What each part brought, from the suite's baseline at as many evaluations"
ONE_PART = "Against the row that lacks one part alone"
AGAINST_WHOLE = "Against the whole network, at equal steps"
AGAINST_CONTROLS = "Claims and their controls"
EFFECTS = "Attribution: what each choice does to FID and time, and which choices change what others do"
FIDELITY = "Fidelity: how far accelerated images are from those of the same sampler without acceleration"
TUNED_TRUNCATION = "Tuned networks: how far their images lie from the untuned network's flow, and from their own"
SEARCH_SPREAD = "Searches repeated from other seeds"
OVERLAPPED = "Steps that overlap, beside the serial run of the same steps"
EQUAL_DISTANCE = "Executors at equal distance to the serial answer"
CALIBRATION = "Uncertainty predicted, beside the true one"
VIRTUAL = "Virtual time, a model's and never ranked: devices that were not there"
OTHERS = "Rows that are not of this plan"


def build_report(
    folder: Path,
    tables: Mapping[str, DataFrame],
    others: DataFrame | None = None,
    facts: Sequence[MethodFacts] = (),
    title: str = "",
    claims: Sequence[ClaimFacts] = (),
) -> list[Path]:
    """Write plots, leaderboard.*, report.html, summary.txt and CSV files of the tables; return their paths.

    The leaderboard is written as Markdown, CSV, LaTeX and HTML, the effects of a factorial design as Parquet.
    `others` are trials of other plans: they are listed, and are part of no table, figure or rank.
    `facts` are those of the methods and networks: families, and what their papers claim. `title` is the suite's.
    `claims` are published figures that were measured in this folder or in those next to it.
    """
    # data and figures
    analysis = derive(tables, facts, claims)
    pairs, gains, designs = find_comparisons(analysis), find_gains(analysis), find_designs(analysis)
    effects = find_effects(designs)
    board = build_leaderboard(analysis, pairs)
    pictures = read_samples(folder / "samples", analysis.trials["trial_id"])
    plots = draw_all(analysis, pictures)

    # tables
    compared = {
        CLAIMED: claims_table(claims, folder.name),
        BROUGHT: gains_table(gains),
        ONE_PART: one_part_table(gains),
        AGAINST_WHOLE: whole_network_table(pairs),
        AGAINST_CONTROLS: controls_table(pairs),
        EFFECTS: effects_table(designs, effects),
        # images, searches, predictions
        FIDELITY: fidelity_table(analysis),
        SEARCH_SPREAD: search_spread_table(analysis),
        TUNED_TRUNCATION: tuned_truncation_table(analysis),
        CALIBRATION: calibration_table(analysis),
        OVERLAPPED: parallel_table(analysis),
        EQUAL_DISTANCE: equal_distance_table(analysis),
        VIRTUAL: virtual_table(analysis),
    }
    apart = other_rows_table(typed_table("trials", others))

    # text of every file
    texts = {
        "comparisons.csv": comparisons_csv(pairs),
        "gains.csv": gains_csv(gains),
        "leaderboard.md": to_markdown(board, {**compared, OTHERS: apart}),
        "leaderboard.csv": to_csv(board),
        "pivot.csv": pivot_csv(board),
        "time_to_quality.csv": time_to_quality_csv(board),
        "leaderboard.tex": to_latex(board, {FIDELITY: compared[FIDELITY]}),
        "summary.txt": board.summary_text,
        "leaderboard.html": render_page("leaderboard.html.j2", board=board),
        "report.html": render_report(analysis, board, pairs, plots, pictures, compared, apart, title),
    }

    # nothing was written before this line, and the page comes last
    files = {f"plots/{name}": data for name, data in plots.items()}
    if effects:
        files["effects.parquet"] = effects_parquet(effects)
    return replace_together(folder, {**files, **{name: text.encode() for name, text in texts.items()}}, ["plots"])
