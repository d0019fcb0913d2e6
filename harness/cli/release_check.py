"""The verb `release-check`: prints a line for each check."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from harness.release.check import check_release, choose_release_parts
from harness.source_tree import ROOT


def check_this_release(only: str | None, suite: str, options: Sequence[str]) -> bool:
    """Print the findings as they come; return whether all checks hold."""
    holds = True
    for finding in check_release(ROOT, choose_release_parts(only), suite, options):
        typer.echo(finding.line())
        holds = holds and not finding.failed
    return holds
