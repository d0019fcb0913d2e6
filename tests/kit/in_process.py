"""Toy methods for runs in the test's own process, and processes that make such a run.

Usage: in_process.py CLASS FOLDER WORDS...: registers a toy of this file, and runs the command line with these words.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from methods.denoisers.full import Full
from methods.parts import Artifact, PrepareContext
from methods.solvers.ddim import DDIM

MARK = Path(sys.argv[2]) / "began" if len(sys.argv) > 2 else Path("began")


class Threads(DDIM):
    """Notes the threads that its steps run in."""

    name = "toy-threads"
    seen: ClassVar[set[threading.Thread]] = set()

    def step(self, x: Tensor, *args: Any) -> Tensor:
        self.seen.add(threading.current_thread())
        return super().step(x, *args)


class Sleeps(DDIM):
    """A step that takes minutes, once begun."""

    name = "toy-sleeps"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        MARK.touch()
        time.sleep(200)
        return x


class Prepares(Full):
    """A preparation that takes minutes, once begun; it runs in a thread of its own."""

    name = "toy-prepares"
    prepares = True

    def prepare(self, context: PrepareContext) -> Artifact:
        MARK.touch()
        time.sleep(200)
        return Artifact()


class Stops(DDIM):
    """Stops in the debugger."""

    name = "toy-stops"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        breakpoint()
        return super().step(x, *args)


class Breaks(DDIM):
    """Raises."""

    name = "toy-breaks"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        secret = 41
        raise ValueError(f"broken after {secret}")


def main() -> None:
    from harness.cli import main as command_line
    from kit.toys import registered

    sys.argv, toy = ["oneclock", *sys.argv[3:]], globals()[sys.argv[1]]
    with registered(toy):
        command_line()


if __name__ == "__main__":
    main()
