"""What each heading of the page means, by the heading as it is printed, and what else leaderboard.csv holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.report.web.target_tables import DETAILS
from harness.report.web.trial_columns import SENTENCES


@dataclass(frozen=True)
class Definitions:
    """Headings as (heading, column of leaderboard.csv or nothing, meaning); further columns as (column, meaning)."""

    headings: tuple[tuple[str, str, str], ...]
    further: tuple[tuple[str, str], ...]


def page_definitions(tables: Iterable[Mapping[str, Any]]) -> Definitions:
    """Return the definitions of the headings of the page's tables."""
    shown = [(column["text"], column["key"], column["tip"]) for table in tables for column in table["columns"]]
    shown += [(column.text, column.key, column.sentence) for column in DETAILS]
    by_heading = {text: (text, key if key in SENTENCES else "", tip) for text, key, tip in reversed(shown)}
    headings = tuple(by_heading[text] for text in dict.fromkeys(text for text, _, _ in shown))

    named = {key for _, key, _ in headings}
    return Definitions(headings, tuple((name, text) for name, text in SENTENCES.items() if name not in named))
