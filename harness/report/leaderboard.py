"""The leaderboard as data: per resource class the main table, a table per FID target, and the table of trials.

It is printed by harness.report.leaderboard_text (Markdown, CSV, LaTeX) and by the HTML templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pandas import DataFrame

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.time_to_quality import ClassQuality, read_class
from harness.report.analysis.times import disturbed_banner
from harness.report.formats import format_count, format_interval
from harness.report.literature import literature_sentence
from harness.report.tables.cells import Cell, Table
from harness.report.tables.control_cells import control_cells
from harness.report.tables.pivot_table import pivot_table
from harness.report.tables.summary import (
    NOTHING_RANKS,
    failures_sentence,
    known_answers_sentence,
    limits_sentence,
    other_classes,
    summary_sentences,
)
from harness.report.tables.target_table import target_tables
from harness.report.tables.trial_table import (
    NO_FIGURE,
    by_network_method_steps,
    cells_by_trial,
    measured_batches,
    trial_table,
)

_OF_OTHER_DATA = 2
"""Sentences of the summary on each data set but the first."""
CONVENTION = (
    "GFLOPs count 2 floating-point operations per multiply-add, for what really ran. Intervals are 95 %. Latency is "
    "one image alone (batch 1), noise in, uint8 out."
)


@dataclass(frozen=True)
class ClassTables:
    """One resource class: what its figures refer to, its tables, and the data behind them for machine formats."""

    title: str
    dataset: str
    banner: str
    """A warning about the whole class; empty where there is none."""
    conditions: tuple[str, ...]
    """Lines above the tables: what quality figures and times refer to."""
    main: tuple[Table, ...]
    """The pivot of serial lines, then that of parallel ones."""
    targets: tuple[Table, ...]
    trials: Table
    source: DataFrame
    """The rows, in the order of the table of trials."""
    quality: ClassQuality
    summary: tuple[str, ...]
    """Sentences on what the tables show."""
    limits: str
    """What they do not show."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Return all tables in reading order."""
        return (*self.main, *self.targets, self.trials)


@dataclass(frozen=True)
class Leaderboard:
    """All classes, and the rows that do not rank, as (trial, verdict, reasons)."""

    classes: tuple[ClassTables, ...]
    invalid: tuple[tuple[str, str, str], ...]
    counts: str
    invalid_source: DataFrame
    summary: tuple[str, ...]
    """Three to five sentences on the first class and on what failed, fewer where little was measured.

    Two more on each further data set, and one on known answers.
    """
    limits: str
    """What they do not show; empty where nothing ranks."""

    @property
    def summary_text(self) -> str:
        """Return summary and limits, one sentence a line."""
        return "".join(f"{sentence}\n" for sentence in (*self.summary, self.limits) if sentence)


def build_leaderboard(analysis: Analysis, pairs: Sequence[Comparison] = ()) -> Leaderboard:
    """Return the leaderboard of an analysis; rows that do not rank are listed with their reasons.

    `pairs` are its comparisons: a method of one step count shows the difference from its control.
    """
    # what does not rank
    invalid = analysis.invalid
    names = distinct_names(invalid)
    listed = tuple(
        (name, "failed" if row["status"] == "failed" else row["verdict"] or "no verdict",
         row["reasons"] or "no reason was recorded")
        for name, (_, row) in zip(names, invalid.iterrows(), strict=True)
    )  # fmt: skip

    valid, failed = len(analysis.trials) - len(invalid), int((invalid["status"] == "failed").sum())
    counts = f"{valid} VALID, {len(invalid) - failed} INVALID, {failed} failed of {len(analysis.trials)} trials"
    controls = control_cells(pairs)
    classes = tuple(_class_tables(one, analysis, controls, pairs) for one in analysis.classes)

    # what the page begins with
    found = (*_data_summaries(classes), known_answers_sentence(analysis)) if classes else (NOTHING_RANKS,)
    summary = (*filter(None, found), failures_sentence(invalid, len(analysis.trials)))
    limits = f"{classes[0].limits}{other_classes(analysis)}" if classes else ""
    return Leaderboard(classes, listed, counts, invalid, summary, limits)


def _data_summaries(classes: Sequence[ClassTables]) -> list[str]:
    """Return what the first class shows, and the first sentences on each further data set, by its name."""
    first = {one.dataset: one for one in reversed(classes)}
    if len(first) == 1:
        return list(classes[0].summary)
    sentences = [f"On {classes[0].dataset}: {sentence}" for sentence in classes[0].summary]
    for one in classes:
        if first[one.dataset] is one and one is not classes[0]:
            sentences += [f"On {one.dataset}: {sentence}" for sentence in one.summary[:_OF_OTHER_DATA]]
    return sentences


def _class_tables(
    one: ResourceClass, analysis: Analysis, controls: Mapping[str, Cell], pairs: Sequence[Comparison]
) -> ClassTables:
    # the data
    key = one.key
    devices = f"{key['devices']:.0f} × " if key["devices"] != 1 else ""
    quality = read_class(one, analysis)
    trials = trial_table(one, quality, analysis.tables["timings"])
    unfold = cells_by_trial(one, trials)
    groups = [group for group in (False, True) if (quality.parallel if group else quality.serial)]

    return ClassTables(
        title=f"{key['dataset']} on {devices}{key['device_name'] or 'unnamed device'}, tier "
        f"{key['timing_tier'] or 'none'}" + (", deployed" if key["timing_mode"] == "deployed" else ""),
        dataset=str(key["dataset"]),
        banner=disturbed_banner(one.rows),
        conditions=_conditions(one, analysis),
        main=tuple(pivot_table(quality, group, unfold, controls) for group in groups),
        targets=tuple(table for group in groups for table in target_tables(quality, group)),
        trials=trials,
        source=by_network_method_steps(one.rows),
        quality=quality,
        summary=tuple(summary_sentences(one, quality, analysis, pairs)),
        limits=limits_sentence(one, quality),
    )


def _conditions(one: ResourceClass, analysis: Analysis) -> tuple[str, ...]:
    """Return the lines above the tables: what quality figures and times refer to."""
    key, rows = one.key, one.rows
    extractor = str(key["extractor"])
    batches = sorted({f"{batch:.0f}" for batch in measured_batches(rows, analysis.tables["timings"]).dropna()}, key=int)

    return (
        f"Quality: FID on {extractor or 'an unnamed extractor'}, SHA-256 {key['extractor_sha256'] or 'unknown'}; "
        f"N = {key['n_images']:.0f} generated, seed sets {' | '.join(sorted(set(rows['seed_sets']))) or 'unknown'}.",
        f"Reference: {key['reference'] or 'unnamed'}, N = {_count_or_unknown(float(key['reference_n']))}.",
        literature_sentence(extractor),
        *_training_condition(rows),
        f"Time: {key['devices']:.0f} device(s) per sample, {key['device_name'] or 'unnamed'}; throughput measured at "
        f"batch {', '.join(batches) or 'unknown'}.",
        # what ratios refer to
        _baseline_condition(one),
        _clock_condition(one),
        CONVENTION,
    )


def _count_or_unknown(n: float) -> str:
    return "not stated, so there is no FID floor" if n != n else format_count(n)


def _training_condition(rows: DataFrame) -> tuple[str, ...]:
    most = rows["trainings"].max()
    if not most > 1:
        return ()
    return (
        f"Trainings: up to {most:.0f} of each network, with their searches and tunings. Figures are means over them, "
        "intervals Student's t over them.",
    )


def _baseline_condition(one: ResourceClass) -> str:
    if one.baseline.empty:
        return f"Baseline: it {one.no_baseline}, so ratios to it are empty."
    names = " | ".join(sorted({f"{row['network']}:{row['method']}" for _, row in one.baseline.iterrows()}))
    nfes = ", ".join(format_count(nfe) for nfe in sorted(one.baseline["nfe"].dropna()))
    return f"Baseline: {names} at NFE {nfes}."


def _clock_condition(one: ResourceClass) -> str:
    if one.clock is None:
        return "Clock: no VALID clock trial, so there is no A/A floor."
    floor = format_interval(*one.floor) or NO_FIGURE
    name = distinct_names(DataFrame([one.clock]))[0]
    return (
        f"Clock: {name}, trial {one.clock['trial_id'][:16]}. A/A floor: {floor}, drift between timing blocks included; "
        "a speed-up inside it, or whose own interval holds 1, is a tie."
    )
