"""The effects of factorial designs as a table of text and as Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from harness.factorial_design import Levels, Term
from harness.report.analysis.factorial_effects import FID, DesignRuns, Effect
from harness.report.formats import DASH, Section, format_interval, format_number
from harness.schema import REAL, TEXT, Column

_COLUMNS = (
    Column("dataset", TEXT, "The runs' data set."),
    Column("network", TEXT, "Their network; empty where it is a factor."),
    Column("response", TEXT, "fid, or time: seconds per image in a batch."),
    Column("factors", TEXT, "The factors that change; of several it is their interaction, the ratio of ratios."),
    Column("change", TEXT, "Their levels before and after, in the order of the factors."),
    Column("given", TEXT, "Levels of other factors at which it holds; empty for the average over all levels."),
    Column("ratio", REAL, "By what the change multiplies the response."),
    Column("ratio_low", REAL, "Lower end of its 95 % interval."),
    Column("ratio_high", REAL, "Upper end of its 95 % interval."),
    Column("p", REAL, "Two-sided p-value of no change of FID, for itself alone; empty for times."),
    Column("aliases", TEXT, "Interactions of up to three factors that the runs cannot tell from it, with semicolons."),
)
_MEANING = (
    "Each figure is by what a change multiplies FID or time per image in a batch, averaged over all factors that the "
    "line does not name: least squares with effect coding on logarithms. An interaction is the ratio of two such "
    "ratios: 1 where one factor does the same at both levels of the other. Whether an acceleration that raises FID "
    "still helps, its controls of equal FLOPs say."
)
_INTERVALS = (
    "Intervals of 95 %, each by itself. FIDs are paired by image: the jackknife leaves out the same images in all "
    "runs. Errors of times are independent."
)


def effects_table(designs: Sequence[DesignRuns], effects: Sequence[Effect]) -> Section:
    """Return a line per change; none without a design."""
    several = len({(one.dataset, one.network) for one in designs}) > 1
    by_change: dict[tuple[str, ...], dict[str, Effect]] = {}
    for one in effects:
        by_change.setdefault(_identity(one), {})[one.response] = one

    lines = []
    for found in by_change.values():
        one = found[FID]
        where = (_place(one),) if several else ()
        lines.append((
            *where, name_term(one.term), describe_change(one), describe_levels(one.given) or "all",
            *(_ranged(found.get(response)) for response in (FID, "time")),
            "; ".join(map(name_term, one.aliases)) or DASH,
        ))  # fmt: skip
    headings = (*(("Design",) if several else ()), "Factors", "Change", "At", "FID ×", "Time ×", "Cannot be told from")
    return Section(headings, lines, (_MEANING, _INTERVALS, *map(_describe, designs)) if lines else ())


def effects_parquet(effects: Iterable[Effect]) -> bytes:
    """Return the effects as the bytes of a Parquet file, each column with its sentence."""
    fields = [pa.field(c.name, c.type, metadata={"sentence": c.sentence}) for c in _COLUMNS]
    lines = [
        (one.dataset, one.network, one.response, name_term(one.term), describe_change(one), describe_levels(one.given),
         one.ratio, *(end if end == end else None for end in (one.low, one.high, one.p)),
         "; ".join(map(name_term, one.aliases)))
        for one in effects
    ]  # fmt: skip
    rows = [dict(zip((c.name for c in _COLUMNS), line, strict=True)) for line in lines]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), stream)
    return stream.getvalue()


def name_term(term: Term) -> str:
    """Return the factors of a term with × between them."""
    return " × ".join(term)


def describe_change(one: Effect) -> str:
    """Return the levels before and after, factor by factor."""
    return ", ".join(f"{one.references[factor]} → {level}" for factor, level in one.changes.items())


def describe_levels(levels: Levels) -> str:
    """Return levels as text; empty for none."""
    return ", ".join(f"{factor} {level}" for factor, level in levels.items())


def _identity(one: Effect) -> tuple[str, ...]:
    return (one.dataset, one.network, name_term(one.term), describe_change(one), describe_levels(one.given))


def _place(one: Effect) -> str:
    return f"{one.dataset}, {one.network}" if one.network else one.dataset


def _ranged(one: Effect | None) -> str:
    return DASH if one is None else f"{format_number(one.ratio)} {format_interval(one.low, one.high)}".strip()


def _describe(runs: DesignRuns) -> str:
    """Return how much of all combinations a design ran, and what it cannot tell apart."""
    design, where = runs.design, f"{runs.network} on {runs.dataset}" if runs.network else runs.dataset
    factors = ", ".join(f"{factor} ({len(levels)})" for factor, levels in design.levels.items())
    text = f"{where}: {len(runs.rows)} of {design.combinations} combinations of {factors}"
    mixed = list(_mixed_terms(design.aliases_of(term) for term in design.terms))
    if not mixed:
        return f"{text}; every effect can be told from all others."
    return f"{text}; {len(mixed)} interactions cannot be told from others and count as none."


def _mixed_terms(every: Iterable[tuple[Term, ...]]) -> Iterator[Term]:
    yield from dict.fromkeys(alias for aliases in every for alias in aliases)
