"""The bytes of a report depend on its rows alone: not on their order, the process or the hash seed.

After a change that is meant: `python tests/golden/test_report_bytes.py` rewrites the golden files; read the difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pandas import DataFrame

TESTS = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "report"
NAMES = ("leaderboard.md", "leaderboard.csv", "leaderboard.tex")
_BUILD = """
import hashlib, json, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from kit import tables
from harness.report.figures import draw as figures
from harness.report.build import build_report
figures.DRAWERS = {{name: figures.DRAWERS[name] for name in ("headline", "schedules")}}  # every kind of mark
few = lambda table: table[table["method"].isin(["ddim", "unipc", "ddim karras"])]
written = build_report(Path({folder!r}), tables.shuffled(tables.tables(few), {seed}))
digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
print(json.dumps({{str(path.relative_to({folder!r})): digest(path) for path in written}}))
"""


def leaderboards(seed: int) -> dict[str, str]:
    """Return the three leaderboards of the fixture, its rows shuffled."""
    sys.path[:0] = [str(TESTS)]
    from kit import tables

    from harness.report.analysis.derive import derive
    from harness.report.leaderboard import build_leaderboard
    from harness.report.leaderboard_text import to_csv, to_latex, to_markdown

    def some(table: DataFrame) -> DataFrame:
        return table[table["method"].isin(["ddim", "unipc", "early-exit + dpmpp-2m", "missing-u", "srds(4) over ddim"])]

    board = build_leaderboard(derive(tables.shuffled(tables.tables(some), seed)))
    return dict(zip(NAMES, (to_markdown(board), to_csv(board), to_latex(board)), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_leaderboard_is_the_golden_one(name: str) -> None:
    assert leaderboards(seed=3)[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    children = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        code = _BUILD.format(tests=str(TESTS), root=str(TESTS.parent), folder=str(folder), seed=seed)
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1"}
        children.append(
            subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        )
    first, second = (json.loads(child.communicate(timeout=240)[0]) for child in children)
    assert first == second
    assert {"report.html", "plots/headline.png", "plots/headline.svg", "plots/schedules.svg"} <= set(first)
    page = tmp_path / "1" / "report.html"
    assert first["report.html"] == hashlib.sha256(page.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.path[:0] = [str(TESTS.parent)]
    for file, text in leaderboards(seed=0).items():
        (GOLDEN / file).write_text(text, encoding="utf-8")
