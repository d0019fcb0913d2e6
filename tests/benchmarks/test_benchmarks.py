"""Every benchmark still runs: in smoke size, its figures mean nothing. `make bench` runs them in real size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = sorted(Path(__file__).parent.glob("bench_*.py"))
SECONDS = 150
"""Each takes a few seconds, mostly for imports; a machine that does much else may need many times that."""


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_a_benchmark_runs_and_prints_figures(file: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)  # as `make bench` runs it
    done = subprocess.run(
        [sys.executable, file, "--smoke"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d\.\d", done.stdout), done.stdout
    assert "nan" not in done.stdout.split(), done.stdout
