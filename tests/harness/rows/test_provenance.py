"""A row says of which commit it is, so that whoever reads it can look at the code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.rows import provenance as module
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


@pytest.mark.parametrize(
    ("sent", "sha", "dirty"),
    [
        (f"{'4f' * 20} clean", "4f" * 20, False),
        (f"{'4f' * 20} dirty", "4f" * 20, True),
        ("", None, None),
        ("../../x clean", None, None),
    ],
)
def test_a_tree_that_was_sent_without_its_history_names_the_commit_that_was_sent_with_it(
    sent: str, sha: str | None, dirty: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ask", lambda root, *words: None)
    monkeypatch.setenv(module.COMMIT_VARIABLE, sent)
    module._git.cache_clear()
    try:
        found = provenance()
        assert (found["git_sha"], found["git_dirty"]) == (sha, dirty)
        assert module.describe_commit() == (sent if sha else "")
    finally:
        module._git.cache_clear()


def test_a_checkout_names_its_own_commit_whatever_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    own = module.describe_commit()
    monkeypatch.setenv(module.COMMIT_VARIABLE, f"{'4f' * 20} clean")
    module._git.cache_clear()
    assert module.describe_commit() == own
