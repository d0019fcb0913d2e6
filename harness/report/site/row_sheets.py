"""The page of a row: verdict and reasons, figures, parts, audits, controls, pictures, versions, how it is remade."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pandas import DataFrame, Series

from harness.report.facts import NETWORK
from harness.report.formats import DASH, format_count, format_number
from harness.report.leaderboard import ClassTables
from harness.report.site.addresses import row_address
from harness.report.site.groups import SiteGroup
from harness.report.tables.cells import Cell
from harness.report.tables.row_figures import row_figures
from harness.report.tables.trial_facts import PairText, pair_texts, part_texts
from harness.report.web.trial_details import trial_details
from harness.schema import TRIALS

_STANDING = ("network_limit_fid", "fid_floor", "tie_group", "pareto", "flops_to_time_yield", "break_even_images")
"""Columns of the table of trials that compare a row with its class, or are derived from it."""
_SENTENCES = {column.name: column.sentence for column in TRIALS.columns}


@dataclass(frozen=True)
class SheetPart:
    """A part of the sampler, or its network: its name, parameters, and what it says of itself."""

    part: str
    name: str
    parameters: str
    summary: str


@dataclass(frozen=True)
class Compared:
    """Another row that a row is compared with, and the page of that one."""

    text: PairText
    address: str


@dataclass(frozen=True)
class AuditLine:
    """An audit of one trial: its rule, whether it holds, what was found and expected."""

    rule: str
    state: str
    """"holds", "fails" or "not tried"."""
    found: str
    expected: str


@dataclass(frozen=True)
class Property:
    """A column with the row's value and the schema's sentence on it."""

    column: str
    value: str
    sentence: str


@dataclass(frozen=True)
class RowSheet:
    """All that the page of a row shows."""

    name: str
    dataset: str
    network: str
    suite: str
    source: str
    """The folder that it is from."""
    verdict: str
    reasons: tuple[str, ...]
    ranking: str
    """Title of the class in which it ranks; empty where it does not."""
    figures: tuple[tuple[str, str], ...]
    standing: tuple[tuple[str, Cell], ...]
    parts: tuple[SheetPart, ...]
    compared: tuple[Compared, ...]
    checks: tuple[AuditLine, ...]
    not_measured: tuple[str, ...]
    members: tuple[tuple[str, str, str], ...]
    """Training, id and FID of each trial that a mean row is made of."""
    strips: tuple[tuple[str, str], ...]
    """Name and address of strips of pictures, its own first, then the baseline's."""
    steps: tuple[tuple[str, ...], ...]
    properties: tuple[Property, ...]
    commands: tuple[str, ...]


class RowSheets:
    """Makes the pages of a group's rows; what they share is found once."""

    def __init__(self, group: SiteGroup, file: str) -> None:
        """Take a group and its file name."""
        self._group = group
        self._file = file
        self._details = trial_details(group.analysis, group.pairs, group.rows, group.strips)
        self._rows = {str(trial_id): row for trial_id, row in group.rows.iterrows()}
        names = dict(zip(group.rows["trial_id"], group.rows["page_name"], strict=True))
        self._ids = {str(name): str(trial_id) for trial_id, name in names.items()}
        self._pairs = pair_texts(group.pairs, names)

        # where rows rank, and what they are made of
        self._places = {
            str(trial_id): (one, dict(zip((heading.key for heading in one.trials.headings), cells, strict=True)))
            for one in group.board.classes
            for trial_id, cells in zip(one.source["trial_id"], one.trials.rows, strict=True)
        }
        self._members = {str(row_id): rows for row_id, rows in group.analysis.members.groupby("row_id")}
        self._checks = {str(trial_id): rows for trial_id, rows in group.analysis.tables["checks"].groupby("trial_id")}
        self._summaries = {(one.part, one.name): one.summary for one in group.facts}

    def make(self, trial_id: str) -> RowSheet:
        """Return the sheet of a row."""
        row = self._rows[trial_id]
        name = str(row["page_name"])
        detail: Mapping[str, Any] = self._details["trials"][name]
        one, cells = self._places.get(trial_id, (None, {}))
        members = self._members.get(trial_id)
        ids = [trial_id] if members is None else [str(member) for member in members["trial_id"]]

        # by the order of the page
        return RowSheet(
            name=name,
            dataset=str(row["dataset"]),
            network=str(row["network"]),
            suite=str(row["suite"]),
            source=", ".join(dict.fromkeys(self._group.sources.get(one_id, "") for one_id in ids)),
            verdict=str(row["verdict"]) or "no verdict",
            reasons=tuple(_sentences(row["reasons"])),
            ranking=one.title if one is not None else "",
            figures=tuple(row_figures(row)),
            standing=tuple(_standing(one, cells)),
            # what it is, and what it was compared with
            parts=tuple(self._parts(row)),
            compared=tuple(
                Compared(text, row_address(self._file, self._ids[text.other])) for text in self._pairs.get(trial_id, ())
            ),
            checks=tuple(check for one_id in ids for check in _checks(self._checks.get(one_id))),
            not_measured=tuple(_sentences(row["not_measured"]) + _sentences(row["not_audited"])),
            members=tuple(_members(members)),
            # pictures, costs, circumstances
            strips=tuple(self._strips(name, detail)),
            steps=tuple(_steps(detail["steps"])),
            properties=tuple(_properties({**detail["own"], **self._details["versions"][detail["versions"]]})),
            commands=tuple(_commands(row, detail["command"])),
        )

    def _parts(self, row: Series) -> Iterator[SheetPart]:
        card = str(row["network_like"] or row["network"])
        yield SheetPart("network", str(row["network"]), "", self._summaries.get((NETWORK, card), ""))
        for part, name, parameters in part_texts(row):
            yield SheetPart(part, name, parameters, self._summaries.get((part, name), ""))

    def _strips(self, name: str, detail: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if detail["strip"]:
            yield name, detail["strip"]
        other = detail["baseline"]
        if other and other != name:
            yield f"{other} (baseline), from the same noise", self._details["trials"][other]["strip"]


def _standing(one: ClassTables | None, cells: Mapping[str, Cell]) -> Iterator[tuple[str, Cell]]:
    """Yield the headings and cells that compare a row with its class; nothing for one that does not rank."""
    for heading in one.trials.headings if one is not None else ():
        if heading.key in _STANDING and cells[heading.key].text:
            yield heading.text, cells[heading.key]


def _checks(rows: DataFrame | None) -> Iterator[AuditLine]:
    if rows is None:
        return
    for _, row in rows.sort_values("place").iterrows():
        state = "holds" if row["holds"] else "fails"
        yield AuditLine(str(row["rule"]), state, str(row["found"]), str(row["expected"]))


def _members(rows: DataFrame | None) -> Iterator[tuple[str, str, str]]:
    if rows is None or len(rows) < 2:
        return
    for _, row in rows.iterrows():
        training = DASH if row["training"] != row["training"] else format_count(row["training"])
        yield training, str(row["trial_id"]), format_number(row["fid"])


def _steps(costs: Mapping[str, Sequence[float | None]]) -> Iterator[tuple[str, ...]]:
    """Yield a step's number, noise level, evaluations, share of the network, GFLOPs an image."""
    columns = [costs.get(name, ()) for name in ("sigma", "nfe", "network_share", "flops_per_image")]
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        yield str(number), *(DASH if value is None else format_number(value) for value in values)


def _properties(values: Mapping[str, str]) -> Iterator[Property]:
    order = {column: place for place, column in enumerate(_SENTENCES)}
    for column in sorted(values, key=lambda one: (order.get(one, len(order)), one)):
        if column not in ("not_measured", "not_audited"):
            yield Property(column, values[column], _SENTENCES.get(column, ""))


def _commands(row: Series, rerun: str) -> Iterator[str]:
    """Yield the commands that measure a row again, with the code that measured it where that is known."""
    if row["git_sha"] and not row["git_dirty"]:
        yield f"git checkout {shlex.quote(str(row['git_sha']))}"
    yield rerun


def _sentences(text: object) -> list[str]:
    return [one for one in str(text).split("; ") if one]
