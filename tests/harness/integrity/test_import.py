"""A plug-in whose import changes what judges is not loaded, and nothing of the change stays."""

from __future__ import annotations

import hashlib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import harness.registry as module
from harness.errors import UsageError
from harness.integrity.fresh_modules import altered_functions
from harness.registry import GROUP
from harness.rows import rules
from harness.sampling import call_counts, pixels

HONEST = """
from methods.solvers.ddim import DDIM

class Honest(DDIM):
    name = "honest-import"
"""
MEDDLES = {
    "digest": (
        "import harness.sampling.pixels as p\np.image_digests = print\n",
        "harness.sampling.pixels.image_digests",
    ),
    "library": ("import hashlib\nhashlib.sha256 = hashlib.md5\n", "hashlib.sha256"),
    "baseline": ("from methods.solvers.ddim import DDIM\nDDIM.order = 3\n", "methods.solvers.ddim.DDIM.order"),
    "finder": (
        "import sys\nsys.meta_path.insert(0, type('F', (), {'find_spec': lambda *a: None})())\n",
        "sys.meta_path",
    ),
    "raises": ("import time\ntime.perf_counter = time.time\nraise ValueError('after it')\n", "time.perf_counter"),
}


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `registry()` be filled anew within a test."""
    monkeypatch.setattr(module, "registry", module.registry.__wrapped__)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("deed", MEDDLES)
def test_it_is_kept_as_broken_and_what_it_changed_is_restored(
    deed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, changed = MEDDLES[deed]
    (tmp_path / f"toy_import_{deed}.py").write_text(text + HONEST)
    (tmp_path / f"toy_honest_{deed}.py").write_text(HONEST)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [EntryPoint(name, f"toy_{name}_{deed}", GROUP) for name in ("import", "honest")]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    before = pixels.image_digests, hashlib.sha256

    book = module.registry()
    assert book.method("solver", "honest-import").__module__ == f"toy_honest_{deed}"
    assert (pixels.image_digests, hashlib.sha256) == before
    with pytest.raises(
        UsageError, match=rf'"import" cannot be used: its plug-in toy_import_{deed}.* changed {changed}'
    ):
        book.method("solver", "import")


def test_a_module_that_was_loaded_meanwhile_must_run_the_code_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(not altered_functions(found) for found in (pixels, call_counts, rules))
    monkeypatch.setattr(call_counts.CallCounts, "add", lambda *args: None)
    monkeypatch.setattr(rules.judge, "__code__", (lambda known: []).__code__)
    names = [change.name for found in (pixels, call_counts, rules) for change in altered_functions(found)]
    assert names == ["harness.sampling.call_counts.CallCounts.add", "harness.rows.rules.judge"]
