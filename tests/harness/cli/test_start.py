"""How little a command imports where there is little to do: what it does not need would cost seconds at every start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit.toys import suite_file, trial

from harness import api
from harness.pools.local import LocalPool
from harness.report.figures import draw as figures

ROOT = Path(__file__).resolve().parents[3]
DRAWS = {"matplotlib", "seaborn"}
WORKS = {"deepspeed", "diffusers", "ray", "scipy", "sklearn", "torch_fidelity", "torchdiffeq", "torchvision", "triton"}
READS = {"numpy", "pandas", "pyarrow", "torch"}


def imported(*lines: str) -> set[str]:
    """Return the top-level modules that a new process holds after these lines."""
    script = "\n".join(["import sys", *lines, "print(*{name.partition('.')[0] for name in sys.modules})"])
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_command_line_waits_for_nothing() -> None:
    assert not imported("import harness", "import harness.cli.app") & (DRAWS | WORKS | READS)


def test_a_plan_imports_neither_what_draws_nor_what_workers_need() -> None:
    assert not imported("import harness", "harness.plan('quick')") & (DRAWS | WORKS | {"pandas"})


def test_a_run_with_nothing_to_do_imports_neither_what_draws_nor_what_workers_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "DRAWERS", {"fid-nfe": figures.DRAWERS["fid-nfe"]})
    suite, results = suite_file(tmp_path, trial(steps=3)), tmp_path / "results"
    api.run(suite, results=results, pool=LocalPool)
    written = (results / "toy" / "report.html").stat().st_mtime_ns
    lines = ["import harness", f"tables = harness.run({suite!r}, results={str(results)!r})", "assert tables.all_valid"]
    assert not imported(*lines) & (DRAWS | WORKS)
    assert (results / "toy" / "report.html").stat().st_mtime_ns == written
