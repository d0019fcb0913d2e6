"""The two tables of a paper, their columns by key, and which lines and columns are shown.

Both are those of the leaderboard: the same cells, signs and footnotes, in the same order of lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import UsageError, did_you_mean
from harness.report.analysis.method_curve import LATENCY, THROUGHPUT
from harness.report.analysis.method_lines import MethodLine
from harness.report.analysis.target_time import NOT_MEASURED, NOT_REACHED
from harness.report.analysis.time_to_quality import QualityTime
from harness.report.formats import DASH, format_count, format_number
from harness.report.leaderboard import ClassTables
from harness.report.tables.cells import Cell, Table, marked_cell, number_cell
from harness.report.tables.limit_cell import limit_cell
from harness.report.tables.target_table import TIES_WITH_RANK_1, ratio_cell, time_cell

METHOD = "method"
_BASELINE = " (baseline)"
_LIMIT = "Limit (FID)"
_DEFAULTS = ("fid", "network_limit_fid", "time", "over_baseline")
"""Columns that stand where none is chosen."""


@dataclass(frozen=True)
class PaperColumn:
    """A column: its key as `--columns` has it, without the number of evaluations or the target too, and its heading."""

    key: str
    kind: str
    group: str
    """What stands above it and its neighbours of the same group; empty where it stands alone."""
    heading: str


@dataclass(frozen=True)
class PaperLine:
    """A method on a network: its printed name with marks and footnotes, and a cell per column."""

    name: str
    network: str
    label: Cell
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper: a line per method, a column per figure."""

    stem: str
    """The name of its file, without the ending."""
    title: str
    columns: tuple[PaperColumn, ...]
    lines: tuple[PaperLine, ...]
    baseline: str
    """The name of the suite's baseline, which `keep_first` leaves; empty where there is none."""
    not_first: int = 0
    """Lines that `keep_first` left out."""
    not_reached: int = 0
    """Lines that are left out since they reach no target."""

    @property
    def notes(self) -> list[str]:
        """Return the distinct footnotes in order of appearance."""
        return list(
            dict.fromkeys(note for line in self.lines for cell in (line.label, *line.cells) for note in cell.notes)
        )


def paper_tables(one: ClassTables, place: int) -> list[PaperTable]:
    """Return the tables of a class with all columns; the file names of classes after the first end in its place.

    That of times has no lines where no method reaches a target.
    """
    end = "" if place == 1 else f"-{place}"
    groups = [group for group in (False, True) if (one.quality.parallel if group else one.quality.serial)]
    tables = []
    for parallel, main in zip(groups, one.main, strict=True):
        kind = "-parallel" if parallel else ""
        tables.append(_pivot(one, main, parallel, f"pivot{kind}{end}"))
        if one.quality.targets:
            tables.append(_times(one, parallel, f"time-to-quality{kind}{end}"))
    return tables


def _pivot(one: ClassTables, main: Table, parallel: bool, stem: str) -> PaperTable:
    """Return the leaderboard's main table without its times."""
    columns = []
    for heading in main.headings[1:]:
        kind, _, number = heading.key.partition("_")
        if kind == "fid":
            columns.append(PaperColumn(heading.key, "fid", f"FID at {heading.text.split()[-1]}", number))
        elif kind != "time":
            text = _LIMIT if heading.key == "network_limit_fid" else heading.text
            columns.append(PaperColumn(heading.key, heading.key, "", text))

    kept = {column.key for column in columns}
    places = [place for place, heading in enumerate(main.headings) if heading.key in kept]
    lines = one.quality.parallel if parallel else one.quality.serial
    shown = {line.name: line.network for line in lines}
    rows = tuple(
        PaperLine(str(row[0].value), shown[str(row[0].value)], replace(row[0], unfolds=None),
                  tuple(row[place] for place in places))
        for row in main.rows
    )  # fmt: skip
    return PaperTable(stem, main.title.partition(",")[0], tuple(columns), rows, one.quality.baseline)


_TIME_COLUMNS: dict[str, tuple[str, Callable[[QualityTime], Cell]]] = {
    "rank": ("rank", lambda time: _rank_cell(time)),
    "time": ("ms", lambda time: time_cell(time, None)),
    "throughput": ("ms/image", lambda time: time_cell(time, time.by_measure[THROUGHPUT.name])),
    "latency": ("latency (ms)", lambda time: time_cell(time, time.by_measure[LATENCY.name])),
    "over_baseline": ("times faster", lambda time: ratio_cell(time.ranked.over_baseline, time.below_limit)),
    "over_costless": (
        "over the best free schedule", lambda time: ratio_cell(time.ranked.over_costless, time.below_limit)
    ),
}  # fmt: skip
"""By kind, at each target: the heading and the cell."""


def _times(one: ClassTables, parallel: bool, stem: str) -> PaperTable:
    """Return each line's time to the targets, and how many times faster than the baseline that is.

    Lines that reach none of them are left out.
    """
    quality = one.quality
    columns = [
        PaperColumn(f"{kind}_{format_count(target)}", kind, f"FID {format_count(target)}", heading)
        for target in quality.targets
        for kind, (heading, _) in _TIME_COLUMNS.items()
    ]
    last = (("best_fid", "Best FID"), ("network_limit_fid", _LIMIT))
    columns += [PaperColumn(key, key, "", text) for key, text in last]

    def cells(line: MethodLine) -> Iterator[Cell]:
        times = [quality.times[line.name, target] for target in quality.targets]
        yield from (make(time) for time in times for _, make in _TIME_COLUMNS.values())
        yield number_cell(times[0].best_fid, format_number(times[0].best_fid))
        yield limit_cell(quality, line.network)

    lines = quality.parallel if parallel else quality.serial
    reach = [line for line in lines if _reaches_any(line, one)]
    title = f"{'Latency' if parallel else 'Time per image'} to a FID"
    shown = tuple(PaperLine(line.name, line.network, _label(line, one), tuple(cells(line))) for line in reach)
    return PaperTable(
        stem, title, tuple(columns), shown, quality.baseline, not_reached=len(lines) - len(reach)
    )  # fmt: skip


def _label(line: MethodLine, one: ClassTables) -> Cell:
    role = _BASELINE if line.name == one.quality.baseline else ""
    return marked_cell(line.name + role, line.name, line.rows["reproduced"].iloc[0])


def _reaches_any(line: MethodLine, one: ClassTables) -> bool:
    states = [one.quality.times[line.name, target].ranked.time.state for target in one.quality.targets]
    return any(state not in (NOT_REACHED, NOT_MEASURED) for state in states)


def _rank_cell(time: QualityTime) -> Cell:
    notes = (TIES_WITH_RANK_1,) if time.ties_with_rank_1 else ()
    return Cell(DASH, "", notes) if time.rank is None else number_cell(time.rank, str(time.rank), *notes)


def keep_first(table: PaperTable, top: int | None) -> PaperTable:
    """Return the table with its first lines alone; the suite's baseline stays."""
    if top is None:
        return table
    shown = tuple(line for place, line in enumerate(table.lines) if place < top or line.name == table.baseline)
    return replace(table, lines=shown, not_first=len(table.lines) - len(shown))


def choose_columns(tables: Sequence[PaperTable], wanted: Sequence[str]) -> list[PaperTable]:
    """Return the tables with the chosen columns in their order; a table that has none of them keeps its usual ones.

    A word is a key, such as fid_10, or a kind of columns, such as fid; `method` stands first always.
    Raises UsageError for a word that no table has.
    """
    words = [word for word in wanted if word != METHOD]
    known: dict[str, None] = {}
    for table in tables:
        known |= dict.fromkeys(word for column in table.columns for word in (column.kind, column.key))

    for word in words:
        if word not in known:
            raise UsageError(_describe_unknown(word, known))
    return [_with_columns(table, words) for table in tables]


def _describe_unknown(word: str, known: Mapping[str, None]) -> str:
    """Return what is wrong with a word of `--columns`; of a time, what would give it."""
    words = f"words of: {METHOD}, {', '.join(known)}"
    if word.partition("_")[0] in _TIME_COLUMNS and not any(kind in known for kind in _TIME_COLUMNS):
        return (
            f'--columns has "{word}", and no time to a FID was read; expected FIDs as quality.targets in the suite '
            f"and a run after that, or {words}"
        )
    return f'--columns has "{word}"; expected {words}{did_you_mean(word, known)}'


def _with_columns(table: PaperTable, words: Sequence[str]) -> PaperTable:
    """Return the table with these columns, or with the usual ones that hold anything."""
    places = {column.key: place for place, column in enumerate(table.columns)}
    chosen = [column for word in words for column in table.columns if word in (column.kind, column.key)]
    if not chosen:
        chosen = [column for column in table.columns if column.kind in _DEFAULTS]

    columns = tuple(dict.fromkeys(chosen))
    lines = tuple(
        replace(line, cells=tuple(line.cells[places[column.key]] for column in columns)) for line in table.lines
    )
    return replace(table, columns=columns, lines=lines)


def common_network(table: PaperTable) -> str:
    """Return the network of all lines; empty where there are several."""
    found = {line.network for line in table.lines}
    return found.pop() if len(found) == 1 else ""


def without_network(table: PaperTable) -> PaperTable:
    """Return the table with the names of methods alone, where all lines have one network."""
    prefix = f"{common_network(table)}:"
    lines = tuple(
        replace(line, label=replace(line.label, text=line.label.text.removeprefix(prefix))) for line in table.lines
    )
    return replace(table, lines=lines)
