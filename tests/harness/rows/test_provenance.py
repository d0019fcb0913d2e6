"""A row says of which commit it is, so that whoever reads it can look at the code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.rows.provenance import provenance

ROOT = Path(__file__).resolve().parents[3]


def test_a_row_names_the_commit_that_is_checked_out() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=30, check=True
    )
    found = provenance()
    assert found["git_sha"] == done.stdout.strip()
    assert isinstance(found["git_dirty"], bool)
