"""Failures of units whose worker died or hangs, in a sentence."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import ray

from harness.pools.actor import WorkerInfo
from harness.specs.limits import STACK_DUMP_SECONDS
from harness.task import Failure, Unit

_NODE_DIED = "its node has died"
"""What Ray says of an actor that was lost with its node."""
_MOST_TEXT = 400
"""Characters of another text of Ray's; what a worker itself raised stands at its end."""


def worker_died(unit: Unit, error: BaseException) -> Failure:
    """Return the failure of a unit whose worker died."""
    return Failure("worker-died", f"the worker died during {unit.label}{describe_end(error)}", lost=True)


def deadline_passed(unit: Unit, stack: str | None) -> Failure:
    """Return the failure of a unit that was killed at its deadline."""
    note = f"; it was in {stack}" if stack else ""
    limit = unit.task.deadline_seconds
    sentence = f"{unit.label} did not end within its deadline of {limit:g} s and was killed{note}"
    return Failure("timeout", sentence, lost=True)


def inputs_lost(unit: Unit) -> Failure:
    """Return the failure of a unit whose inputs are lost."""
    return Failure("inputs-lost", f"what {unit.label} needs was lost with the node that held it")


def describe_end(error: BaseException) -> str:
    """Return how a worker ended, if Ray reports it: out of memory, exit code, or signal."""
    text = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "running low on memory" in text:
        return " (out of memory)"
    if code := re.search(r"exit code[ =](-?\d+)", text):
        return f" (exit code {code[1]})"
    if "End of file" in text or "connection error code" in text:
        return " (its process is gone, as after a signal)"
    return ""


def describe_lost_start(error: BaseException) -> tuple[str, bool]:
    """Return why a worker did not start, in a sentence, and whether it was lost with its node."""
    text = " ".join(str(error).split())
    if _NODE_DIED in text:
        return "the nodes on which workers were starting were lost; run again to continue on those that are left", True
    return text if len(text) <= _MOST_TEXT else f"... {text[-_MOST_TEXT:]}", False


def read_stack(worker: WorkerInfo, this_node: str) -> str | None:
    """Return the innermost frames of a worker, read by py-spy. Blocks; None for other machines."""
    if worker.node != this_node:
        return None
    spy = shutil.which("py-spy") or str(Path(sys.executable).parent / "py-spy")
    try:
        dump = subprocess.run(
            [spy, "dump", "--pid", str(worker.pid)], capture_output=True, text=True, timeout=STACK_DUMP_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    frames = [line.strip() for line in dump.stdout.splitlines() if line.startswith("    ")]
    return " < ".join(frames[:3]) or None
