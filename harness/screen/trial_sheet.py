"""All that is known of one row, as lines: verdict, figures, parts, controls, samples, and how it is measured again."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import Series

    from harness.report.analysis.derive import Analysis
    from harness.report.tables.trial_facts import PairText

_WIDE = 100
"""Columns of a sheet that goes to a file or a pipe."""
_INDENT, _LEAST_NAMES, _MOST_NAMES = 2, 12, 34
_NARROW = 60
"""Below this many columns further lines of a text are not indented to its first."""
_FILES, _AGAIN = "files", "measured by"
_IN_ONE_PIECE = (_FILES, _AGAIN)
"""Sections whose lines are copied from the terminal."""
Line = tuple[str, str]
"""What a line is about, and its text."""
_MEASURED_ON = (
    "dataset", "n_images", "reference", "extractor", "weights", "device_name", "devices", "batch", "timing_tier",
    "timing_mode", "precision_dtype", "disturbed", "torch_version", "git_sha", "started_at",
)  # fmt: skip


def describe_trial(analysis: Analysis, folder: Path, wanted: str, width: int | None) -> list[str]:
    """Return the sheet of the row with an id or a printed name, fitted to a width; None is that of a pipe.

    Over several trainings or seeds it is the mean row, as the report has it, with each of its trials below.

    Raises UsageError unless exactly one row has that name.
    """
    from harness.report.analysis.comparisons import find_comparisons
    from harness.report.export import find_trial
    from harness.report.tables.row_figures import row_figures
    from harness.report.tables.trial_facts import pair_texts, part_texts, rerun_command
    from harness.report.web.page_rows import page_rows

    # the row
    rows = page_rows(analysis)
    row = find_trial(rows.reset_index(drop=True), wanted)
    verdict = row["verdict"] if not row["reasons"] else f"{row['verdict']}: {row['reasons']}"
    trial_id = str(row["trial_id"])
    names = {str(one): str(name) for one, name in rows["page_name"].items()}

    # its sections: what it is, what it is compared with
    pairs = pair_texts(find_comparisons(analysis), names).get(trial_id, [])
    members = analysis.members[analysis.members["row_id"] == trial_id]
    sections: list[tuple[str, Sequence[Line]]] = [
        ("measured", list(row_figures(row))),
        ("parts", [(part, f"{name}  {params}".strip()) for part, name, params in part_texts(row)]),
        (
            "compared with",
            [(one.kind, f"{one.other}: FID {one.fid}, time x {one.time}; {one.finding}") for one in pairs],
        ),
        # how it came about
        ("trials", [_member_line(one) for _, one in members.iterrows()] if len(members) > 1 else []),
        ("not measured", [("", text) for text in _sentences(row["not_measured"]) + _sentences(row["not_audited"])]),
        ("conditions", [(name, text) for name in _MEASURED_ON if (text := _plain(row.get(name)))]),
        (_FILES, list(_files(folder, trial_id, [str(one) for one in members["trial_id"]]))),
        (_AGAIN, [("", rerun_command(row))]),
    ]
    title = f"{names[trial_id]}  {verdict}"
    return list(_wrap_sections(title, sections, width or _WIDE))


def _pair_line(pair: PairText) -> Line:
    return pair.kind, f"{pair.other}: FID {pair.fid}, time x {pair.time}; {pair.finding}"


def _member_line(member: Series) -> Line:
    from harness.report.formats import format_number

    where = f"training {member['training']:.0f}" if member["training"] == member["training"] else "trial"
    return where, f"{member['trial_id'][:12]}  FID {format_number(member['fid'])}"


def _files(folder: Path, trial_id: str, members: Sequence[str]) -> Iterator[Line]:
    """Yield the pictures of a row and the report, as far as they are there."""
    from harness.report.live import PAGE

    for one in dict.fromkeys([*members, trial_id]):
        if (path := folder / "samples" / f"{one}.png").is_file():
            yield "samples", str(path)
    if (folder / PAGE).is_file():
        yield "report", str(folder / PAGE)


def _sentences(text: object) -> list[str]:
    return [one for one in str(text).split("; ") if one] if text and text == text else []


def _plain(value: object) -> str:
    """Return a value as text, nothing for an empty one; long digests are cut."""
    from harness.report.formats import format_count

    if value is None or value != value:
        return ""
    text = format_count(value) if isinstance(value, float) else str(value)
    return " ".join(word[:12] if len(word) == 64 else word for word in text.split(" "))


def _wrap_sections(title: str, sections: Sequence[tuple[str, Sequence[Line]]], width: int) -> Iterator[str]:
    """Yield the lines, none longer than the width except for words and commands that are."""
    yield from textwrap.wrap(title, width, subsequent_indent=" " * _INDENT, break_long_words=False)
    for heading, lines in sections:
        if lines:
            yield ""
            yield heading
        names = min(max([_LEAST_NAMES, *(len(name) for name, _ in lines)]), _MOST_NAMES)
        for name, text in lines:
            first = f"{'':{_INDENT}}{name:{names}} " if name else " " * _INDENT
            more = " " * min(len(first), 2 * _INDENT if width < _NARROW else len(first))
            if heading in _IN_ONE_PIECE:
                yield f"{first}{text}"
            else:
                yield from textwrap.wrap(
                    text, width, initial_indent=first, subsequent_indent=more, break_long_words=False
                )
