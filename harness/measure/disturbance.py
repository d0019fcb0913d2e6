"""Whether other work disturbed a timing block: by own CPU seconds on a CPU, by NVML on a GPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from harness.specs.rules.timing import LEAST_DRIFT_ROUNDS, MOST_DISTURBED, MOST_DRIFT, OWN_CPU_SHARE
from harness.specs.time import GpuState, Repetition, TimedBlock


def judge_block(
    calls: Sequence[Repetition], seconds: float, device: torch.device, ranks: int, before: GpuState | None = None
) -> TimedBlock:
    """Return what a block did and how it was disturbed; `seconds` is that of all its rounds.

    On a CPU a call is disturbed if own CPU seconds are too small a share of wall seconds. With several ranks rank zero
    waits for others while it makes the trial's images; then only the clock's and the serial executor's calls count.
    On a GPU the process waits for the device, so only NVML is judged, before the block and after every call: a single
    reading that found another process or a throttled device voids it. Where NVML is missing, nothing is found.
    """
    judged = [one for one in calls if ranks == 1 or one.role != "trial"]
    shares = cpu_shares(judged)
    median = float(np.median(shares))
    readings: list[GpuState] = [*([] if before is None else [before]), *calls]
    drift = clock_drift(calls)

    # what each reading found, and the sentence
    if device.type == "cuda":
        found = [bool(one.foreign_processes) or bool(one.throttle) for one in readings]
        reason = _describe_gpu(readings, drift)
    else:
        found = [share < OWN_CPU_SHARE for share in shares]
        reason = _describe_cpu(median, sum(found) / len(found))

    return TimedBlock(
        rounds=1 + max(one.round for one in calls),
        seconds=seconds,
        cpu_share=median,
        disturbed_share=sum(found) / len(found),
        disturbed=reason,
        foreign_share=_share([one.foreign_processes for one in readings]),
        throttled_share=_share([one.throttle for one in readings]),
        clock_drift=drift,
    )


def clock_drift(calls: Sequence[Repetition]) -> float | None:
    """Return by which share the clock trial's seconds moved, from the first half of the rounds to the second.

    Mean over the kinds of call, each by its medians. None for a block of few rounds.
    """
    rounds = 1 + max(one.round for one in calls)
    if rounds < LEAST_DRIFT_ROUNDS:
        return None
    moves = []
    for kind in sorted({one.kind for one in calls if one.role == "baseline"}):
        own = [one for one in calls if (one.kind, one.role) == (kind, "baseline")]
        early, late = (
            np.median([one.seconds for one in own if (2 * one.round >= rounds) is is_late]) for is_late in (False, True)
        )
        moves.append(float(np.log(late / early)))
    return float(np.expm1(np.mean(moves))) if moves else None


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


def _cores(call: Repetition) -> float:
    """Return CPU seconds per wall second; 1 where CPU seconds are not known."""
    return 1.0 if call.process_seconds is None else call.process_seconds / call.seconds


def _share(readings: Sequence[int | str | None]) -> float | None:
    """Return the share of readings that found something, of those that are known; None where none is."""
    known = [bool(one) for one in readings if one is not None]
    return sum(known) / len(known) if known else None


def _describe_cpu(median: float, disturbed_share: float) -> str:
    if disturbed_share <= MOST_DISTURBED:
        return ""
    if median < OWN_CPU_SHARE:
        return f"had {100 * median:.0f} % of its core"
    return f"had less than {100 * OWN_CPU_SHARE:.0f} % of its core in {100 * disturbed_share:.0f} % of the calls"


def _describe_gpu(readings: Sequence[GpuState], drift: float | None) -> str:
    parts = []
    shared = sum(bool(one.foreign_processes) for one in readings) / len(readings)
    if shared:
        parts.append(f"shared its GPU with another process in {100 * shared:.0f} % of the readings")
    throttled = [one.throttle for one in readings if one.throttle]
    if throttled:
        names = ", ".join(sorted({name for one in throttled for name in one.split(", ")}))
        share = 100 * len(throttled) / len(readings)
        parts.append(f"its GPU was throttled in {share:.0f} % of the readings ({names})")
    if drift is not None and abs(drift) > MOST_DRIFT:
        parts.append(f"the clock trial's time moved by {100 * drift:+.1f} %")
    return "; ".join(parts)
