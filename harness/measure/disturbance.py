"""Whether other work disturbed a timing block: by own CPU seconds on a CPU, by NVML on a GPU."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness.measure.device import open_nvml
from harness.specs.rules.timing import MOST_DISTURBED, OWN_CPU_SHARE, THROTTLE_REASONS
from harness.specs.time import Repetition, TimedBlock


def judge_block(calls: Sequence[Repetition], seconds: float, device: torch.device, ranks: int) -> TimedBlock:
    """Return what a block did and how it was disturbed; `seconds` is that of all its rounds.

    On a CPU a call is disturbed if own CPU seconds are too small a share of wall seconds. With several ranks rank zero
    waits for others while it makes the trial's images; then only the clock's and the serial executor's calls count.
    On a GPU the process waits for the device, so only NVML is judged. Where that is missing, nothing is found.
    """
    judged = [one for one in calls if ranks == 1 or one.role != "trial"]
    shares = cpu_shares(judged)
    median = float(np.median(shares))

    if device.type == "cuda":
        found = [bool(one.foreign_processes) or bool(one.throttle) for one in calls]
    else:
        found = [share < OWN_CPU_SHARE for share in shares]
    disturbed_share = sum(found) / len(found)

    reason = ""
    if disturbed_share > MOST_DISTURBED:
        reason = _describe_gpu(calls) if device.type == "cuda" else _describe_cpu(median, disturbed_share)
    return TimedBlock(
        rounds=1 + max(one.round for one in calls),
        seconds=seconds,
        cpu_share=median,
        disturbed_share=disturbed_share,
        disturbed=reason,
    )


def counted_block(blocks: Sequence[TimedBlock]) -> int:
    """Return the index of the first undisturbed block, else of the least disturbed; of equals the first."""
    return min(range(len(blocks)), key=lambda n: (bool(blocks[n].disturbed), blocks[n].disturbed_share))


def cpu_shares(calls: Sequence[Repetition]) -> list[float]:
    """Return own CPU seconds over wall seconds of each call, between 0 and 1.

    With several threads a call may use several cores. Its share is then relative to the 90 % quantile of its role and
    kind, where that exceeds one core: a load that starves all calls alike stays unseen as long as one core is left.
    """
    cores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in calls:
        cores[one.role, one.kind].append(_cores(one))
    usual = {key: max(1.0, float(np.quantile(found, 0.9))) for key, found in cores.items()}
    if torch.get_num_threads() == 1:
        usual = dict.fromkeys(usual, 1.0)
    return [min(1.0, _cores(one) / usual[one.role, one.kind]) for one in calls]


def read_gpu_load(device: torch.device) -> dict[str, Any]:
    """Return how many other processes compute on a GPU and why it is throttled; None for what is not known.

    NVML is optional. In a container it may list this process under another id, or none at all: if its own id is not
    in the list, one of those listed is taken for it.
    """
    unknown: dict[str, Any] = {"foreign_processes": None, "throttle": None}
    if device.type != "cuda":
        return unknown
    try:
        pynvml, handle = open_nvml(device)
    except Exception:  # the library is optional
        return unknown

    try:
        listed = {one.pid for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
        unknown["foreign_processes"] = len(listed - {os.getpid()}) - (bool(listed) and os.getpid() not in listed)
    except Exception:  # some drivers and containers refuse it
        pass
    try:
        query = getattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        bits = (query or pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)(handle)  # the name before 2023
        unknown["throttle"] = ", ".join(name for bit, name in THROTTLE_REASONS.items() if bits & bit)
    except Exception:  # old cards do not know it
        pass
    return unknown


def _cores(call: Repetition) -> float:
    """Return CPU seconds per wall second; 1 where CPU seconds are not known."""
    return 1.0 if call.process_seconds is None else call.process_seconds / call.seconds


def _describe_cpu(median: float, disturbed_share: float) -> str:
    if median < OWN_CPU_SHARE:
        return f"had {100 * median:.0f} % of its core"
    return f"had less than {100 * OWN_CPU_SHARE:.0f} % of its core in {100 * disturbed_share:.0f} % of the calls"


def _describe_gpu(calls: Sequence[Repetition]) -> str:
    parts = []
    shared = sum(bool(one.foreign_processes) for one in calls) / len(calls)
    if shared:
        parts.append(f"shared its GPU with another process in {100 * shared:.0f} % of the calls")
    throttled = [one.throttle for one in calls if one.throttle]
    if throttled:
        names = ", ".join(sorted({name for one in throttled for name in one.split(", ")}))
        parts.append(f"its GPU was throttled in {100 * len(throttled) / len(calls):.0f} % of the calls ({names})")
    return "; ".join(parts)
