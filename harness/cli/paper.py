"""The verb `paper`: from a results folder to a folder of LaTeX, figures and BibTeX."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.errors import StoreDamagedError, UsageError
from harness.version import VERSION

if TYPE_CHECKING:
    from pandas import DataFrame

    from harness.report.paper.paper_source import ToolFacts

_CITATION = Path(__file__).resolve().parents[2] / "CITATION.cff"
_NAME = "oneclock"


def write_paper(folder: Path, to: Path | None, top: int | None, columns: str) -> list[Path]:
    """Write the files of a paper on a results folder and return their paths; remarks go to stderr.

    Either all files are the new ones, or all are as they were. UsageError where no row is VALID, for a column that
    no table has, and for a folder with files that are not of this verb; StoreDamagedError for damaged results.
    """
    from harness import api
    from harness.config.suite import suite_names
    from harness.planning.method_facts import collect_claims, collect_facts
    from harness.report.analysis.derive import derive
    from harness.report.paper.paper_files import FOLDERS, PaperChoice, build_paper
    from harness.storage.planned import read_planned_settings, read_title
    from harness.storage.swap import replace_together

    # the rows
    target = folder / "paper" if to is None else to
    _refuse_foreign(target)
    tables = api.load(folder)
    if tables.damage:
        raise StoreDamagedError(f"{tables.damage[0]}; see `oneclock doctor {folder}`")
    analysis = derive(tables.by_name, collect_facts(), collect_claims(folder.parent))
    if not analysis.classes:
        raise UsageError(
            f"{folder} has no VALID row, so a paper would be empty; `oneclock show {folder}` has the reasons"
        )

    # its files
    words = tuple(word.strip() for word in columns.split(",") if word.strip())
    choice = PaperChoice(top, words, suite_names(), read_planned_settings(folder), list_plug_ins(tables.trials))
    title = read_title(folder) or folder.resolve().name
    paper = build_paper(analysis, read_tool(analysis.trials), title, choice)
    written = replace_together(target, paper.files, FOLDERS)
    (target / "reproduce.sh").chmod(0o755)

    # what they lack
    others = [_describe_others(len(tables.others))] if len(tables.others) else []
    for remark in (*paper.remarks, *others):
        typer.echo(f"oneclock: {remark}", err=True)
    return written


def _describe_others(count: int) -> str:
    return f"left out, of other plans: {count} rows, measured under other settings of the suite than its latest run"


def _refuse_foreign(target: Path) -> None:
    """Raise UsageError for a folder with files in which this verb wrote nothing before."""
    from harness.report.paper.paper_files import MARK

    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file; expected a new folder for the paper")
    main = target / "main.tex"
    ours = main.is_file() and main.read_text(encoding="utf-8", errors="replace").startswith(f"% {MARK}")
    if target.is_dir() and any(target.iterdir()) and not ours:
        raise UsageError(f"{target} has files that `oneclock paper` did not write; expected a new folder by --to")


def list_plug_ins(trials: DataFrame) -> tuple[str, ...]:
    """Return the names of the rows' methods that are not shipped, in order; also those that are not installed here."""
    from harness.registry import registry
    from methods.parts import PARTS

    shipped = {(one.part, one.name) for one in registry().methods() if one.__module__.startswith("methods.")}
    named = {(part, name) for part in PARTS for name in trials[part].dropna()}
    return tuple(sorted({name for part, name in named - shipped if name}))


def read_tool(trials: DataFrame, citation: Path = _CITATION) -> ToolFacts:
    """Return this tool as CITATION.cff has it, by its name alone where there is no such file, and data sets' citations.

    A data set without a card here, or whose card states none, has no citation.
    """
    from harness.report.paper.paper_source import ToolFacts

    text = citation.read_text(encoding="utf-8") if citation.is_file() else ""
    authors = re.findall(r'^\s*- name: "?([^"\n]+)"?$', text, re.MULTILINE)
    return ToolFacts(
        title=_entry(text, "title") or _NAME,
        authors=tuple(authors) or (f"The contributors to {_NAME}",),
        version=VERSION,
        address=_entry(text, "repository-code"),
        datasets={name: _citation_of(name) for name in sorted(set(trials["dataset"]))},
    )


def _entry(text: str, key: str) -> str:
    """Return a value of a line of YAML; empty where there is none."""
    found = re.search(rf'^{key}: "?([^"\n]+?)"?$', text, re.MULTILINE)
    return found[1] if found else ""


def _citation_of(dataset: str) -> str:
    from harness.data.cards import load_card

    try:
        return load_card(dataset).citation
    except UsageError:
        return ""
