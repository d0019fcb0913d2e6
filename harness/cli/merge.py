"""The verb `merge`: what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from harness.errors import UsageError


def merge_into(folders: Sequence[Path], into: Path) -> int:
    """Join results folders, print what each brought, build the report; return the number of contradictions."""
    from harness import api
    from harness.report.live import PAGE
    from harness.storage.joining import CONFLICTS, join_folders

    if len(folders) < 2 and not into.exists():
        raise UsageError(f"found {len(folders)} folder to merge into a new one; expected two or more")
    joined = join_folders(folders, into)
    for source, one in zip(folders, joined, strict=True):
        typer.echo(f"{source}: {one.new} trials copied, {one.equal} were there, {len(one.conflicts)} contradict")
        for sentence in one.conflicts:
            typer.echo(f"  {sentence}", err=True)

    conflicts = sum(len(one.conflicts) for one in joined)
    if conflicts:
        typer.echo(f"contradicting rows are in {into / CONFLICTS}; the first of each stays", err=True)
    api.report(into)
    typer.echo(f"report: {into / PAGE}", err=True)
    return conflicts
