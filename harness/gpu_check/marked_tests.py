"""The tests marked `cuda`, run by pytest in a process of its own; what passed, failed and was skipped, and why."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict

from harness.gpu_check.child import Child, ChildEnd
from harness.measure.usable_cores import count_worker_cores
from harness.source_tree import ROOT
from harness.specs.limits import CHECK_TESTS_SECONDS

MARKER = "mark.cuda"
_MOST_PROCESSES = 8
"""Each has a context of its own on the GPU, some hundred megabytes."""


class TestsFinding(BaseModel):
    """What the tests said."""

    model_config = ConfigDict(frozen=True)
    __test__ = False  # pytest takes it for a test
    passed: int = 0
    failed: dict[str, str] = {}
    """First line of the failure by name."""
    skipped: dict[str, int] = {}
    """Number of tests by reason."""
    end: ChildEnd | None = None
    """None where there was nothing to run."""


def run_marked_tests(folder: Path, environment: dict[str, str]) -> TestsFinding:
    """Run all tests marked `cuda` of the checkout that this code lies in; none where the tests are not there."""
    files = marked_files(ROOT / "tests")
    if not files:
        return TestsFinding()
    report = folder / "tests.xml"
    report.unlink(missing_ok=True)
    words = [sys.executable, "-m", "pytest", "-m", "cuda", "-p", "no:cacheprovider", f"--junitxml={report.resolve()}"]
    end = Child(
        [*words, *_side_by_side(), *map(str, files)],
        folder / "logs" / "tests.txt",
        {**environment, "OMP_NUM_THREADS": "1"},
        folder=ROOT,
    ).wait(CHECK_TESTS_SECONDS)
    return read_report(report, end)


def marked_files(tests: Path) -> list[Path]:
    """Return the files with a test marked `cuda`, so that pytest reads no other."""
    return sorted(file for file in tests.rglob("test_*.py") if MARKER in file.read_text(encoding="utf-8"))


def read_report(report: Path, end: ChildEnd) -> TestsFinding:
    """Return what a JUnit report says; it is missing where pytest was stopped before its end."""
    if not report.is_file():
        return TestsFinding(end=end)
    passed, failed, skipped = 0, dict[str, str](), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name', '')}"
        bad = next((one for one in case if one.tag in ("failure", "error")), None)
        absent = case.find("skipped")
        if bad is not None:
            failed[name] = (bad.get("message") or "").partition("\n")[0]
        elif absent is not None:
            skipped[absent.get("message") or "no reason"] += 1
        else:
            passed += 1
    return TestsFinding(passed=passed, failed=failed, skipped=dict(skipped), end=end)


def _side_by_side() -> list[str]:
    processes = min(_MOST_PROCESSES, count_worker_cores() // 2)
    if processes < 2 or importlib.util.find_spec("xdist") is None:
        return []
    return ["-n", str(processes), "--dist", "loadgroup"]
