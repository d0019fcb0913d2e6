"""Commands to go on with after the first suite, filled in for this machine."""

from __future__ import annotations

import os
from pathlib import Path

from harness.cli.new.next_commands import oneclock_command
from harness.errors import HarnessError
from harness.runs import workplace

FIRST_SUITE, LARGE_SUITE = "quick", "cifar10"
_ONE_GPU = "one GPU"
_WHAT_WIDTH = 25


def list_next_steps(suite: str, results: Path, with_time: bool) -> list[str]:
    """Return three commands after `FIRST_SUITE`: a solver, a folder of pictures, a large suite; else nothing.

    With the time that the large suite takes, which is planned for it: seconds of work.
    """
    if suite != FIRST_SUITE:
        return []
    program = oneclock_command()
    device_class, name = workplace.this_device()
    has_gpu = device_class.startswith("cuda")
    place = "" if has_gpu or os.environ.get("RAY_ADDRESS") else " --address HOST:6379"
    hint = "HOST: of a Ray cluster with a GPU" if place else ""
    if not has_gpu:
        device_class, name = f"cuda:{_ONE_GPU}", _ONE_GPU
    time = _time_of_large_suite(device_class, name, results) if with_time else ""

    commands = (
        ("a solver of your own", f"{program} new solver mine"),
        ("your folder of pictures", f"{program} new dataset ./pictures"),
        (f"the suite {LARGE_SUITE}", f"{program} run {LARGE_SUITE}{place}"),
    )
    lines = [f"  {what:{_WHAT_WIDTH}} {command}" for what, command in commands]
    return ["to go on:", *lines, *(f"  {'':{_WHAT_WIDTH}} {note}" for note in (hint, time) if note)]


def _time_of_large_suite(device_class: str, name: str, results: Path) -> str:
    """Return how long the large suite takes, here or on one GPU; "" where it cannot be planned."""
    from harness.config.suite import load_suite
    from harness.planning.cost.wall_time import describe_range, describe_seconds, estimate_wall_time
    from harness.planning.plan import make_plan

    is_elsewhere = name == _ONE_GPU
    try:
        plan = make_plan(load_suite(LARGE_SUITE), device_class, name, data_may_be_absent=True)
        found = estimate_wall_time(plan, (), results, 1 if is_elsewhere else None)
    except HarnessError:
        return ""
    where = f"on {name}" if is_elsewhere else "here"
    time = f"about {describe_seconds(found.seconds)} {where} ({describe_range(found.low, found.high, found.seconds)})"
    return f"{time}, from {found.basis}"
