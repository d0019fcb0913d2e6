"""Under what circumstances a run happened: versions, commit, start; facts for the reader, never part of an identity."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from harness.schema import Row
from harness.specs.limits import GIT_SECONDS
from harness.version import VERSION


def provenance() -> Row:
    """Return the provenance columns of a row written now."""
    return {
        "torch_version": version("torch"),
        "harness_version": VERSION,
        **_git(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _git() -> Row:
    root = Path(__file__).resolve().parents[2]
    sha = _ask(root, "rev-parse", "HEAD")
    if sha is None or _ask(root, "rev-parse", "--show-toplevel") != str(root):
        return {"git_sha": None, "git_dirty": None}
    return {"git_sha": sha, "git_dirty": bool(_ask(root, "status", "--porcelain", "--untracked-files=no"))}


def _ask(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
