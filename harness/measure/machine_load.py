"""Whether other programs use this machine now: CPU time in a short window, and processes on the GPU.

A load average lags by a minute and counts this program too, so it is not read.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from harness.measure.usable_cores import usable_cores
from harness.specs.limits import LOAD_WINDOW_SECONDS

BUSY_SHARE = 0.25
"""Other programs that use more than this share of the cores disturb timings."""
FULL_SHARE = 0.9
"""With more of the cores in use none counts as idle."""
_NAMED_SHARE = 0.1
"""A program that used at least this share of one core is named."""
_MOST_NAMED = 2


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds so far: of the cores that this process may use, of it with all processes below, of other programs."""

    at: float
    """Seconds of a clock that never steps back."""
    cores: int
    busy: float
    own: float
    by_process: Mapping[int, tuple[str, float]] = field(default_factory=dict)
    """Name and seconds of other processes, by their id; those that may not be read are left out."""
    runnable: int = 0
    """Other processes that ran or waited for a core at that moment."""


@dataclass(frozen=True)
class MachineLoad:
    """What other programs do here now."""

    sentence: str = ""
    """What was found and what it means, "" on an idle machine."""
    slowdown: float = 1.0
    """How many times longer work on all cores takes if the others keep their share; 1 on an idle machine."""


def describe_busy_machine(seconds: float = LOAD_WINDOW_SECONDS) -> str:
    """Return one sentence if other programs use this machine now, else "". Blocks for `seconds`."""
    return measure_machine_load(seconds).sentence


def measure_machine_load(seconds: float = LOAD_WINDOW_SECONDS) -> MachineLoad:
    """Return what other programs do here within `seconds`, for which it blocks."""
    before = read_cpu_use()
    time.sleep(seconds)
    after = read_cpu_use()
    cpu = describe_cpu_use(before, after)
    return MachineLoad(cpu or _describe_gpu_use(), _slowdown(before, after) if cpu else 1.0)


def read_cpu_use() -> CpuReading:
    """Return CPU seconds of the usable cores, this process's own share, and those of other processes."""
    cores = usable_cores()
    own = {process.pid for process in (psutil.Process(), *psutil.Process().children(recursive=True))}
    own_seconds, runnable = 0.0, 0
    by_process: dict[int, tuple[str, float]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            times = process.cpu_times()
            if process.pid in own:
                own_seconds += times.user + times.system
            else:
                by_process[process.pid] = process.name(), times.user + times.system
                runnable += process.status() == psutil.STATUS_RUNNING

    times_by_core = psutil.cpu_times(percpu=True)
    busy = sum(_busy_seconds(times_by_core[core]) for core in cores if core < len(times_by_core))
    return CpuReading(time.monotonic(), len(cores), busy, own_seconds, by_process, runnable)


def describe_cpu_use(before: CpuReading, after: CpuReading) -> str:
    """Return one sentence if other programs used over `BUSY_SHARE` of the cores between two readings, else ""."""
    window, others = _window(before, after), other_cores(before, after)
    if others <= BUSY_SHARE * after.cores:
        return ""

    # the programs that used most
    used: dict[str, float] = defaultdict(float)
    for pid, (name, spent) in after.by_process.items():
        used[name] += (spent - before.by_process.get(pid, (name, 0.0))[1]) / window
    largest = sorted(used.items(), key=lambda item: (-item[1], item[0]))[:_MOST_NAMED]
    named = ", ".join(f"{name} {share:.1f}" for name, share in largest if share >= _NAMED_SHARE)

    cores = "1 core" if after.cores == 1 else f"{after.cores} cores"
    return (
        f"other programs use {others:.1f} of {cores} now{f' ({named})' if named else ''}: timings taken now "
        "may be marked disturbed and will not separate close rows"
    )


def other_cores(before: CpuReading, after: CpuReading) -> float:
    """Return how many cores other programs used between two readings, at most all."""
    others = (after.busy - before.busy) - max(after.own - before.own, 0.0)
    return min(max(others, 0.0) / _window(before, after), float(after.cores))


def _slowdown(before: CpuReading, after: CpuReading) -> float:
    """Return how many times longer work on all cores takes next to the others, if cores are shared evenly.

    Where no core is idle, the others may want more than they get: then those that wait count too.
    """
    wanted = other_cores(before, after)
    if wanted > FULL_SHARE * after.cores:
        wanted = max(wanted, (before.runnable + after.runnable) / 2)
    return 1.0 + wanted / after.cores


def _window(before: CpuReading, after: CpuReading) -> float:
    return max(after.at - before.at, 1e-9)


def _describe_gpu_use() -> str:
    """Return one sentence if other processes compute on a GPU that this one sees, else ""."""
    import torch

    from harness.measure.gpu_state import count_foreign_processes

    if not torch.cuda.is_available():
        return ""
    found = [count_foreign_processes(torch.device("cuda", index)) for index in range(torch.cuda.device_count())]
    shared = sum(bool(count) for count in found)
    if not shared:
        return ""
    return (
        f"other processes compute on {shared} of {len(found)} GPUs now: timings taken now may be marked disturbed "
        "and will not separate close rows"
    )


def _busy_seconds(times: object) -> float:
    """Return the seconds that a core was not idle; `user` holds a guest's time already, `steal` is other machines'."""
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(getattr(times, name, 0.0) for name in names))
