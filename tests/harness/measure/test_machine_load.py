"""The sentence on a busy machine: other programs' CPU time in a window, never this program's own."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from harness.measure import machine_load
from harness.measure.machine_load import CpuReading, describe_cpu_use, read_cpu_use

_BURN = "import time\nprint('on', flush=True)\nwhile True: pass\n"


def _reading(at: float, busy: float, own: float = 0.0, **others: float) -> CpuReading:
    by_process = {n: (name, seconds) for n, (name, seconds) in enumerate(others.items())}
    return CpuReading(at, 2, busy, own, by_process)


def test_names_cores_and_the_largest_programs() -> None:
    before = _reading(10.0, 100.0, browser=5.0, backup=7.0, clock=1.0)
    after = _reading(12.0, 103.0, browser=6.0, backup=8.8, clock=1.02)
    assert describe_cpu_use(before, after) == (
        "other programs use 1.5 of 2 cores now (backup 0.9, browser 0.5): timings taken now may be marked disturbed "
        "and will not separate close rows"
    )


def test_own_use_is_not_other_programs() -> None:
    assert describe_cpu_use(_reading(0.0, 50.0, own=3.0), _reading(1.0, 52.0, own=4.9)) == ""


@pytest.mark.parametrize(("others", "is_busy"), [(0.0, False), (0.49, False), (0.51, True), (2.0, True)])
def test_a_quarter_of_the_cores_is_busy(others: float, is_busy: bool) -> None:
    sentence = describe_cpu_use(_reading(0.0, 0.0), _reading(1.0, others))
    assert bool(sentence) == is_busy


def test_never_more_cores_than_there_are() -> None:
    """Counters of the system tick at their own times."""
    assert "use 2.0 of 2 cores" in describe_cpu_use(_reading(0.0, 0.0), _reading(1.0, 2.3))


@pytest.mark.parametrize(
    ("others", "runnable", "slowdown"), [(0.2, 5, 1.0), (1.0, 9, 1.5), (2.0, 0, 2.0), (2.0, 10, 6.0)]
)
def test_work_is_slower_by_what_the_others_want(
    monkeypatch: pytest.MonkeyPatch, others: float, runnable: int, slowdown: float
) -> None:
    readings = iter([CpuReading(0.0, 2, 0.0, 0.0, {}, runnable), CpuReading(1.0, 2, others, 0.0, {}, runnable)])
    monkeypatch.setattr(machine_load, "read_cpu_use", lambda: next(readings))
    monkeypatch.setattr(machine_load, "_describe_gpu_use", str)
    found = machine_load.measure_machine_load(0.0)
    assert found.slowdown == pytest.approx(slowdown)
    assert bool(found.sentence) == (slowdown > 1.0)


def test_a_process_below_this_one_is_its_own() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", _BURN], stdout=-1, text=True) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            before = read_cpu_use()
            time.sleep(0.3)
            after = read_cpu_use()
        finally:
            child.kill()

    assert after.own - before.own > 0.05  # it shares its core with whatever else runs
    assert child.pid not in after.by_process
    assert after.busy - before.busy > 0.05
