"""Commands to go on with after the first suite, filled in for this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.planning.plan import Plan

FIRST_SUITE, LARGE_SUITE = "quick", "cifar10"


def list_next_steps(suite: str, results: Path, make_plan: Callable[[str], Plan]) -> list[str]:
    """Return three commands after `FIRST_SUITE`: a solver, a folder of pictures, a large suite; else nothing.

    `make_plan` plans a suite by its name for this machine; runs nothing.
    """
    if suite != FIRST_SUITE:
        return []
    program, hours = program_name(), _time_of_large_suite(results, make_plan)
    commands = (
        ("a solver of your own", f"{program} new solver mine"),
        ("your folder of pictures", f"{program} new dataset ./pictures"),
        (f"the suite {LARGE_SUITE}", f"{program} run {LARGE_SUITE}{_place()}"),
    )
    lines = [f"  {what:25}{command}" for what, command in commands]
    return ["next:", *lines, *([f"  {'':25}{hours}"] if hours else [])]


def program_name(prefix: Path | None = None) -> str:
    """Return how to call this program from here: its name if the shell finds it, else its path."""
    found = (Path(sys.executable).parent if prefix is None else prefix) / "oneclock"
    on_path = shutil.which("oneclock")
    if on_path is not None and Path(on_path).resolve() == found.resolve():
        return "oneclock"
    if not found.is_file():
        return f"{sys.executable} -m harness"
    here = Path.cwd()
    return str(found.relative_to(here)) if found.is_relative_to(here) else str(found)


def _place() -> str:
    """Return what the command needs where this machine has no GPU."""
    import torch

    if torch.cuda.is_available() or os.environ.get("RAY_ADDRESS"):
        return ""
    return " --address HOST:6379"


def _time_of_large_suite(results: Path, make_plan: Callable[[str], Plan]) -> str:
    """Return how long the large suite takes on this machine, "" where it cannot be planned here."""
    from harness.planning.wall_time import estimate_wall_time

    try:
        wall_time = estimate_wall_time(make_plan(LARGE_SUITE), (), results)
    except HarnessError:
        return ""
    return f"{wall_time.sentence()}, from {wall_time.basis}"
