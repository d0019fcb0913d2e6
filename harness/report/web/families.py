"""A section per family of methods: its claim, what was measured, its controls, its own figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from pandas import DataFrame, Series

from harness.report.analysis.comparisons import CONTROL, Comparison
from harness.report.analysis.derive import Analysis
from harness.report.analysis.family_findings import FamilyFindings, find_by_family
from harness.report.facts import NETWORK, MethodFacts
from harness.report.formats import DASH, format_count, format_interval, format_number
from harness.report.leaderboard import Leaderboard
from harness.report.tables.family_sentences import count_outcomes, join_words, whole_network_sentence
from harness.report.tables.summary import equal_quality_sentence
from harness.report.web.chart import both_grounds
from harness.report.web.family_figures import FamilyFigure, family_figures
from harness.report.web.page_rows import page_rows

_MOST_STEPS = 6
PARTS = (NETWORK, "denoiser", "schedule", "solver", "executor")


@dataclass(frozen=True)
class Beside:
    """A row of the family and what it is compared with, as text."""

    name: str
    """As the page knows the row."""
    other: str
    fid: str
    time: str
    finding: str


@dataclass(frozen=True)
class FamilySection:
    """One family, as the template families.html.j2 fills it in."""

    family: str
    light: str
    """Its color on a light ground."""
    dark: str
    methods: tuple[MethodFacts, ...]
    """Its methods and networks that have rows: summaries and claims."""
    claims: tuple[str, ...]
    """Their claims, each once."""
    measured: tuple[str, ...]
    """Sentences on what was measured here."""
    controls: tuple[Beside, ...]
    figures: tuple[FamilyFigure, ...]


def make_families(
    analysis: Analysis, board: Leaderboard, pairs: Sequence[Comparison], plots: Mapping[str, bytes]
) -> tuple[FamilySection, ...]:
    """Return the families that have ranked rows; `plots` are the figures by file name.

    A section holds the rows of all classes, and says of each class by itself what was measured.
    """
    if not analysis.classes:
        return ()
    names = {str(trial_id): str(name) for trial_id, name in page_rows(analysis)["page_name"].items()}
    figures = family_figures(analysis.classes[0], analysis, plots)

    # findings of all classes, by family
    found: dict[str, list[_InClass]] = {}
    for one, printed in zip(analysis.classes, board.classes, strict=True):
        title = f"{printed.title}: " if len(analysis.classes) > 1 else ""
        for findings in find_by_family(one, analysis, pairs):
            found.setdefault(findings.family, []).append(_InClass(title, one.baseline, findings))
    return tuple(
        _section(family, found[family], analysis, names, figures.get(family, ()))
        for family in analysis.families
        if family in found
    )


@dataclass(frozen=True)
class _InClass:
    """A family's findings in one resource class."""

    title: str
    """What its sentences begin with; empty where there is one class alone."""
    baseline: DataFrame
    findings: FamilyFindings


def _section(
    family: str,
    found: Sequence[_InClass],
    analysis: Analysis,
    names: Mapping[str, str],
    figures: Sequence[FamilyFigure],
) -> FamilySection:
    rows = pd.concat([one.findings.rows for one in found], ignore_index=True)
    controls = [pair for one in found for pair in one.findings.controls]
    methods = _methods(rows, family, analysis)

    return FamilySection(
        family,
        *both_grounds(family, analysis.families),
        methods=methods,
        claims=tuple(dict.fromkeys(one.claim for one in methods if one.claim)),
        measured=(
            *(sentence for one in found for sentence in _measured(one)),
            *(() if controls else ("The suite names no control for these rows.",)),
        ),
        controls=tuple(_beside(pair, names) for pair in controls),
        figures=tuple(figures),
    )


def _methods(rows: DataFrame, family: str, analysis: Analysis) -> tuple[MethodFacts, ...]:
    """Return the facts of the methods and networks of a family that its rows use."""
    rows = rows.assign(**{NETWORK: rows["network_like"].where(rows["network_like"] != "", rows["network"])})
    used = {(part, name) for part in PARTS for name in rows[part]}
    return tuple(one for one in analysis.facts if one.family == family and (one.part, one.name) in used)


def _measured(one: _InClass) -> list[str]:
    """Return what was measured of a family in one class: its rows, what it saves, its controls.

    A speed-up over the baseline is the family's own only in rows that differ from the baseline in one part.
    """
    rows = one.findings.rows
    sentences = [
        f"{one.title}{_extent(rows)}",
        equal_quality_sentence(rows[_in_one_part(rows, one.baseline)], one.baseline),
        whole_network_sentence([one.findings]),
    ]

    if len(one.findings.controls) > 1:
        counted = count_outcomes(one.findings.controls)
        sentences.append(f"{counted[0].upper()}{counted[1:]}.")
    return [sentence for sentence in sentences if sentence]


def _in_one_part(rows: DataFrame, baseline: DataFrame) -> Series:
    """Return which rows [rows] have the baseline's network, and its schedule or its solver, and are else plain."""
    if baseline.empty:
        return Series(False, rows.index)
    first = baseline.iloc[0]
    plain = (rows["denoiser"] == "full") & (rows["executor"] == "serial") & (rows["network"] == first["network"])
    return plain & ((rows["schedule"] == first["schedule"]) | (rows["solver"] == first["solver"]))


def _extent(rows: DataFrame) -> str:
    """Return how many rows there are, on which networks, at which steps, with which FIDs."""
    count = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
    steps = [format_count(one) for one in sorted(set(rows["steps"]))]
    at = join_words(steps) if len(steps) <= _MOST_STEPS else f"{steps[0]} to {steps[-1]}"
    low, high = format_number(rows["fid"].min()), format_number(rows["fid"].max())
    fid = "" if rows["fid"].isna().all() else f", FID {low}" if low == high else f", FID {low} to {high}"
    return f"{count} on {join_words(sorted(set(rows['network'])))}, at {at} steps{fid}."


def _beside(pair: Comparison, names: Mapping[str, str]) -> Beside:
    half = pair.difference_half
    ends = format_interval(pair.difference - half, pair.difference + half)
    sign = "+" if pair.difference > 0 else ""
    return Beside(
        name=names[pair.row["trial_id"]],
        other=names[pair.other["trial_id"]],
        fid=DASH if math.isnan(pair.difference) else f"{sign}{format_number(pair.difference)} {ends}".strip(),
        time=DASH
        if math.isnan(pair.time)
        else f"×{format_number(pair.time)} {format_interval(pair.time_low, pair.time_high)}".strip(),
        finding=pair.verdict if pair.kind == CONTROL else pair.finding,
    )
