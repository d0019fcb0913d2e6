"""Under what circumstances a run happened: versions, commit, start; facts for the reader, never part of an identity."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from harness.schema import Row
from harness.specs.limits import GIT_SECONDS
from harness.version import VERSION

COMMIT_VARIABLE = "ONECLOCK_COMMIT"
"""Environment variable: the commit of a tree that was sent without its history, as `describe_commit` wrote it."""
_COMMIT = re.compile(r"([0-9a-f]{40,64}) (clean|dirty)")


def provenance() -> Row:
    """Return the provenance columns of a row written now."""
    return {
        "torch_version": _torch_version(),
        "harness_version": VERSION,
        **_git(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_commit() -> str:
    """Return commit and state of this source tree in two words, such as "4f0c... clean"; "" without a commit."""
    found = _git()
    return "" if found["git_sha"] is None else f"{found['git_sha']} {'dirty' if found['git_dirty'] else 'clean'}"


@cache
def _torch_version() -> str:
    return version("torch")  # reads a file


@cache
def _git() -> Row:
    root = Path(__file__).resolve().parents[2]
    sha = _ask(root, "rev-parse", "HEAD")
    if sha is None or _ask(root, "rev-parse", "--show-toplevel") != str(root):
        sent = _COMMIT.fullmatch(os.environ.get(COMMIT_VARIABLE, ""))
        return {"git_sha": sent and sent[1], "git_dirty": sent and sent[2] == "dirty"}
    return {"git_sha": sha, "git_dirty": bool(_ask(root, "status", "--porcelain", "--untracked-files=no"))}


def _ask(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
