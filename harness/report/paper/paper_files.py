"""All files of a paper's folder, from an analysis alone: the same bytes for the same rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.report.analysis.comparisons import find_comparisons
from harness.report.analysis.derive import Analysis
from harness.report.analysis.method_lines import distinct_names
from harness.report.leaderboard import ClassTables, build_leaderboard
from harness.report.page import render_latex
from harness.report.paper.latex_table import LatexTable, latex_table
from harness.report.paper.number_macros import number_macros
from harness.report.paper.paper_figures import paper_figures
from harness.report.paper.paper_source import PARTS, References, ToolFacts, class_methods, find_references
from harness.report.paper.paper_table import choose_columns, keep_first, paper_tables
from harness.report.paper.reproduce_script import reproduce_script

MARK = "Written by oneclock paper, and written anew each time: read its files from a document of your own."
"""Begins main.tex, by which a folder of this tool is known."""
FOLDERS = ("tables", "figures")
_CAPTIONS = {
    "fid-evaluations": "FID against network evaluations per image, a line per method, with 95 % intervals.",
    "fid-time": "FID against time per image, with 95 % intervals and the Pareto front.",
    "time-to-quality": "Time per image at which each method reaches a FID, read on its own curve.",
}
_PARTS = {
    "network": "Networks", "solver": "Solvers", "schedule": "Schedules", "denoiser": "Denoisers",
    "executor": "Executors",
}  # fmt: skip


@dataclass(frozen=True)
class PaperChoice:
    """What a paper shows, and how its rows came about."""

    top: int | None = None
    """Lines of each table; None for all."""
    columns: tuple[str, ...] = ()
    shipped_suites: Collection[str] = ()
    settings: tuple[str, ...] = ()
    """Of the run, as `--set` has them."""
    plug_ins: tuple[str, ...] = ()
    """Methods that are not shipped."""


@dataclass(frozen=True)
class Paper:
    """The files by path below the folder, and sentences on what they lack."""

    files: dict[str, bytes]
    remarks: tuple[str, ...]


def build_paper(analysis: Analysis, tool: ToolFacts, title: str, choice: PaperChoice) -> Paper:
    """Return the files of a paper; nothing is written.

    Raises UsageError for a column that no table has, and needs one ranked class at least.
    """
    # tables
    board = build_leaderboard(analysis, find_comparisons(analysis))
    whole = [(table, one.title) for place, one in enumerate(board.classes, 1) for table in paper_tables(one, place)]
    chosen = choose_columns([table for table, _ in whole], choice.columns)
    tables = {
        table.stem: latex_table(keep_first(table, choice.top), where)
        for table, (_, where) in zip(chosen, whole, strict=True)
        if table.lines
    }

    # figures, works, conditions
    figures = paper_figures(board.classes, analysis)
    rows = pd.concat([one.source for one in board.classes])
    references = find_references(rows, analysis.facts, tool)
    members = analysis.trials[analysis.trials["trial_id"].isin(analysis.members["trial_id"])]
    script = reproduce_script(members, tool.address, choice.shipped_suites, choice.settings, choice.plug_ins)

    # all texts
    texts = {
        **{f"tables/{stem}.tex": table.text for stem, table in tables.items()},
        "numbers.tex": number_macros(board.classes),
        "references.bib": references.text,
        "methods.tex": _methods(board.classes, analysis, references, tool),
        "reproduce.sh": script,
        "main.tex": _main(title, list(tables), list(figures)),
    }
    files = {f"figures/{name}": data for name, data in figures.items()}
    files |= {name: text.encode() for name, text in texts.items()}

    # what they lack
    unreached = [(table.title, where) for table, (_, where) in zip(chosen, whole, strict=True) if not table.lines]
    return Paper(files, (*map(_describe_unreached, unreached), *_remarks(analysis, tables, references, board.classes)))


def _describe_unreached(table: tuple[str, str]) -> str:
    """Return why a table, named by its title and its class, is left out."""
    title, where = table
    return f"no table of the {title[0].lower()}{title[1:]} ({where}): no method reaches a target"


def _methods(classes: Sequence[ClassTables], analysis: Analysis, references: References, tool: ToolFacts) -> str:
    return render_latex(
        "paper_methods.tex.j2",
        classes=[class_methods(one, analysis) for one in classes],
        references=references,
        version=tool.version,
        parts=[(_PARTS[part], references.methods[part]) for part in (PARTS[-1], *PARTS[:-1])],
        left_out=_left_out(analysis),
    )


def _main(title: str, tables: Sequence[str], figures: Sequence[str]) -> str:
    """Return the document; a figure's caption is that of the first part of its name."""
    stems = dict.fromkeys(name.rpartition("-")[0] for name in figures)
    captions = [(stem, next(text for key, text in _CAPTIONS.items() if stem.startswith(key))) for stem in stems]
    return render_latex("paper_main.tex.j2", mark=MARK, title=title, tables=tables, figures=captions)


def _left_out(analysis: Analysis) -> list[str]:
    """Return the trials that have no VALID row, with the reasons."""
    names = distinct_names(analysis.invalid)
    reasons = [row["reasons"] or row["status"] or "no reason was recorded" for _, row in analysis.invalid.iterrows()]
    return [f"{name}: {reason}" for name, reason in zip(names, reasons, strict=True)]


def _remarks(
    analysis: Analysis, tables: dict[str, LatexTable], references: References, classes: Sequence[ClassTables]
) -> list[str]:
    """Return sentences on what is left out, and on what a reader of the folder has to do."""
    remarks = [f"left out, not VALID: {text}" for text in _left_out(analysis)]
    remarks += [
        f"no time to quality on {one.dataset}: the suite names no FID targets"
        for one in classes
        if not one.quality.targets
    ]
    remarks += [
        f"tables/{stem}.tex is {table.inches:.1f} in wide at 8 points, and LaTeX makes it {table.shrinks_to:.0%} of "
        "that; --columns or --top make it narrower"
        for stem, table in tables.items()
        if table.shrinks_to < 1
    ]
    if references.without_title:
        remarks.append(f"references.bib has no title of {', '.join(references.without_title)}: the methods name none")
    return remarks
