"""The lines of `ls results`: which results folders there are and, with -v, what each holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.runs.tables import Tables

_STORE = "store.json"
_COMMIT = 12


def stored_folder_lines(results: Path, details: bool) -> Iterator[str]:
    """Yield a line per results folder below a folder: name, rows that are VALID of all, title.

    With `details` each has a further one: verdicts, devices, commits, dates and size. A folder that cannot be read
    says why.
    """
    from harness import api
    from harness.storage.planned import read_title

    folders = sorted(path.parent for path in results.glob(f"*/{_STORE}"))
    if not folders:
        yield f"no results in {results}"
    wide = max((len(folder.name) for folder in folders), default=0)
    for folder in folders:
        try:
            tables = api.load(folder)
        except HarnessError as error:
            yield f"{folder.name:{wide}}  {error}"
            continue
        valid = int((tables.trials["verdict"] == "VALID").sum())
        yield f"{folder.name:{wide}}  {valid:>4} of {len(tables.trials):>4} VALID  {read_title(folder)}".rstrip()
        if details:
            yield f"    {_describe(tables)}"


def _describe(tables: Tables) -> str:
    """Return verdicts, devices, commits, dates and size of a results folder."""
    trials = tables.trials
    failed = trials["status"] == "failed"
    counts = {
        "VALID": int((trials["verdict"] == "VALID").sum()),
        "INVALID": int(((trials["verdict"] != "VALID") & ~failed).sum()),
        "failed": int(failed.sum()),
        "of other plans": len(tables.others),
    }

    # where and when
    devices = sorted({str(name) for name in trials["device_name"].dropna() if name}) or ["no device"]
    commits = sorted({str(sha)[:_COMMIT] for sha in trials["git_sha"].dropna() if sha}) or ["unknown"]
    days = sorted({str(stamp)[:10] for stamp in trials["started_at"].dropna() if stamp}) or ["no date"]
    size = sum(path.stat().st_size for path in tables.folder.rglob("*") if path.is_file() and not path.is_symlink())
    parts = [
        ", ".join(f"{count} {word}" for word, count in counts.items()),
        ", ".join(devices),
        f"commit {', '.join(commits)}",
        days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}",
        f"{size / 1e6:.1f} MB",
    ]
    return "; ".join([*parts, *(["damaged: see `oneclock doctor`"] if tables.damage else [])])
