"""The head of report.html: suite, data set, machine, dates, commit."""

from __future__ import annotations

from dataclasses import dataclass

from pandas import Series

from harness.report.analysis.derive import Analysis

_COMMIT_DIGITS = 10
_DAY = 10  # characters of an ISO date


@dataclass(frozen=True)
class PageHead:
    """The title, and the facts below it."""

    title: str
    facts: tuple[str, ...]


def page_head(analysis: Analysis, counts: str, title: str = "") -> PageHead:
    """Return the head of a page; `counts` says how many rows rank. Without a title the suites' names stand there."""
    trials = analysis.trials
    suites, sets, machines = (_listed(trials[column]) for column in ("suite", "dataset", "device_name"))
    days = sorted({stamp[:_DAY] for stamp in trials["started_at"] if stamp})
    commits = _listed(trials["git_sha"].str[:_COMMIT_DIGITS])
    dirty = ", with changes that are not committed" if trials["git_dirty"].any() else ""

    facts = (
        f"suite {suites}" if suites and title else "",
        f"data set {sets}" if sets else "",
        machines,
        " to ".join(dict.fromkeys([*days[:1], *days[-1:]])),
        f"commit {commits}{dirty}" if commits else "",
        counts,
    )
    return PageHead(title or suites or "Results", tuple(fact for fact in facts if fact))


def _listed(values: Series) -> str:
    return ", ".join(sorted({str(value) for value in values if value}))
