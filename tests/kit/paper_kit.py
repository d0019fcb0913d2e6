"""A paper from made-up tables, without a network and without torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from unittest.mock import patch

from pandas import DataFrame

from harness.report.analysis.derive import derive
from harness.report.facts import MethodFacts
from harness.report.paper.paper_figures import FIGURES
from harness.report.paper.paper_files import Paper, PaperChoice, build_paper
from harness.report.paper.paper_source import ToolFacts
from kit import tables

TOOL = ToolFacts("a tool & its figures", ("The people_of it",), "1.2.3", datasets={"digits": "A. Body: Digits, 50 %"})
FACTS = (
    MethodFacts("solver", "ddim", "solver", "", "", "m", 'X.\n\nSong, Ermon 2021, "Implicit" (arXiv:2010.02502).'),
    MethodFacts("solver", "unipc", "solver", "", "", "m", 'X.\n\nZhao et al. 2023, "UniPC" (arXiv:2302.04867).'),
    MethodFacts("executor", "srds", "parallel", "", "", "m", 'X.\n\nSelvam 2024, "SRDS" (arXiv:2412.08292).'),
    MethodFacts("solver", "not-used", "solver", "", "", "m", 'X.\n\nNobody 2024, "No" (arXiv:2401.00001).'),
)


def with_targets(table: DataFrame) -> DataFrame:
    return table.assign(fid_targets="[20, 10, 2]")


def paper(
    change: Callable[[DataFrame], DataFrame] = with_targets,
    seed: int | None = None,
    choice: PaperChoice | None = None,
    drawn: bool = False,
) -> Paper:
    """Return the paper of the made-up tables after a change to their trials, their rows shuffled by a seed.

    Without `drawn` it has no figures.
    """
    source = tables.tables(change)
    return paper_of(source if seed is None else tables.shuffled(source, seed), choice, drawn)


def paper_of(source: dict[str, DataFrame], choice: PaperChoice | None = None, drawn: bool = False) -> Paper:
    """Return the paper of stored tables."""
    with patch.dict(FIGURES, clear=not drawn):
        return build_paper(derive(source, FACTS), TOOL, "A title", choice or PaperChoice())


def texts(made: Paper) -> dict[str, str]:
    """Return the files of text."""
    return {name: data.decode() for name, data in made.files.items() if not name.endswith(".pdf")}


def check_latex(text: str) -> None:
    """Raise AssertionError unless braces and environments close in order, and no special character stands bare."""
    bare = re.sub(r"(?<!\\)%.*", "", text)
    plain = re.sub(r"\\[\\{}$&#%_]", "", bare)
    depth = 0
    for mark in plain:
        depth += {"{": 1, "}": -1}.get(mark, 0)
        assert depth >= 0, text
    assert depth == 0
    assert plain.count("$") % 2 == 0

    # environments
    open_ones: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", bare):
        if kind == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert not open_ones
    assert bare.isascii()
