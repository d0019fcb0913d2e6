"""The pages of a data set and of each network on it, in the classes of the leaderboard: rows that rank together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.report.family_colors import family_color
from harness.report.leaderboard import ClassTables
from harness.report.site.addresses import row_address
from harness.report.site.groups import SiteGroup
from harness.report.tables.cells import Table


@dataclass(frozen=True)
class RowLink:
    """What stands around a name in a table: the page that it leads to, and its family's color on both grounds."""

    address: str
    """Empty for a line of several rows."""
    light: str
    dark: str


@dataclass(frozen=True)
class BoardPart:
    """One class of a board: rows that were measured alike, by one suite."""

    suite: str
    of: ClassTables
    links: Mapping[str, RowLink]
    """By the value of a cell that is a name."""
    is_whole: bool
    """Whether all networks are there, so that sentences about the class hold of what is shown."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Return the pivots, then a table per target."""
        return (*self.of.main, *self.of.targets)


@dataclass(frozen=True)
class Unranked:
    """A row that does not rank."""

    name: str
    address: str
    verdict: str
    reasons: str


@dataclass(frozen=True)
class Board:
    """What a page of a data set, or of a network on it, shows."""

    parts: tuple[BoardPart, ...]
    unranked: tuple[Unranked, ...]
    families: tuple[tuple[str, str, str], ...]
    """Families of its rows, with their colors on white and on a dark ground."""

    @property
    def ranked(self) -> int:
        """Return how many rows rank."""
        return sum(len(part.of.source) for part in self.parts)


def make_board(groups: Sequence[SiteGroup], files: Mapping[str, str], dataset: str, network: str = "") -> Board:
    """Return the board of a data set, or of one network on it; `files` are the file names of the groups."""
    parts = [part for group in groups for part in _parts(group, files[group.name], dataset, network)]
    unranked = [row for group in groups for row in _unranked(group, files[group.name], dataset, network)]

    known = dict.fromkeys(family for group in groups for family in group.analysis.families)
    shown = {str(family) for part in parts for family in part.of.source["family"] if family}
    families = tuple(
        (name, family_color(name, tuple(known)), family_color(name, tuple(known), dark=True))
        for name in known
        if name in shown
    )
    return Board(tuple(parts), tuple(unranked), families)


def networks_of(groups: Sequence[SiteGroup], dataset: str) -> list[str]:
    """Return the networks that have rows on a data set."""
    found = (group.rows.loc[group.rows["dataset"] == dataset, "network"] for group in groups)
    return sorted({str(name) for names in found for name in names})


def _parts(group: SiteGroup, file: str, dataset: str, network: str) -> Iterator[BoardPart]:
    for one in group.board.classes:
        if one.dataset != dataset or (network and network not in set(one.source["network"])):
            continue
        links = _links(group, file, one)
        yield BoardPart(group.name, _of_network(one, network) if network else one, links, not network)


def _links(group: SiteGroup, file: str, one: ClassTables) -> dict[str, RowLink]:
    """Return what surrounds names: lines have a color, trials a page too."""
    families = group.analysis.families

    def link(address: str, family: str) -> RowLink:
        return RowLink(address, family_color(family, families), family_color(family, families, dark=True))

    lines = {
        line.name: link("", str(line.rows["family"].iloc[0])) for line in (*one.quality.serial, *one.quality.parallel)
    }
    rows = zip(one.trials.rows, one.source["trial_id"], one.source["family"], strict=True)
    return {**lines, **{str(row[0].value): link(row_address(file, str(id_)), str(family)) for row, id_, family in rows}}


def _of_network(one: ClassTables, network: str) -> ClassTables:
    """Return the class's tables with the lines and trials of one network; ranks and ties stay those of the class."""
    lines = {line.name for line in (*one.quality.serial, *one.quality.parallel) if line.network == network}
    main = [replace(table, rows=tuple(row for row in table.rows if row[0].value in lines)) for table in one.main]
    own = one.source["network"] == network
    trials = tuple(row for row, shown in zip(one.trials.rows, own, strict=True) if shown)

    return replace(
        one,
        main=tuple(table for table in main if table.rows),
        targets=(),
        trials=replace(one.trials, rows=trials),
        source=one.source[own],
    )


def _unranked(group: SiteGroup, file: str, dataset: str, network: str) -> Iterator[Unranked]:
    rows = zip(group.board.invalid, group.board.invalid_source.iterrows(), strict=True)
    for (_, verdict, reasons), (_, row) in rows:
        if row["dataset"] == dataset and network in ("", row["network"]):
            name = str(group.rows.loc[row["trial_id"], "page_name"])
            yield Unranked(name, row_address(file, str(row["trial_id"])), verdict, reasons)
