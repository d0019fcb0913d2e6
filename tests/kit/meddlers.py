"""Methods that change what judges them: each does one thing while it makes its images, and is DDIM otherwise.

Also a plug-in from outside: workers on Ray find them through an entry point.
"""

from __future__ import annotations

import gc
import hashlib
import signal
import subprocess
import sys
import threading
import time
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.integrity import changes, guard
from harness.metrics import quality
from harness.pools import worker
from harness.registry import registry
from harness.rows import row, rules
from harness.sampling import pixels
from harness.sampling.call_counts import CallCounts
from harness.specs.rules import timing
from harness.specs.sample import SampleOutput
from harness.tasks import sample
from methods.solvers.ddim import DDIM
from methods.solvers.heun import Heun

CHILD_SECONDS = "86398"  # what a child sleeps for; no other process has this word


class Meddler(DDIM):
    """Meddles once in each process, with its first step."""

    name = "meddles-not"

    change: ClassVar[str]
    """What the row names."""
    has_meddled = False

    def step(self, x: Tensor, *args: Any) -> Tensor:
        x = super().step(x, *args)
        if not self.has_meddled:
            type(self).has_meddled = True
            self.meddle()
        return x

    def meddle(self) -> None:
        raise NotImplementedError


def same_digests(images: Tensor) -> Any:
    return torch.zeros(len(images), 32, dtype=torch.uint8).numpy()


class Digests(Meddler):
    name = "meddles-digests"
    change = "changed harness.sampling.pixels.image_digests"

    def meddle(self) -> None:
        pixels.image_digests = same_digests  # type: ignore[assignment]
        sample.image_digests = same_digests  # type: ignore[attr-defined]


class Clock(Meddler):
    name = "meddles-clock"
    change = "changed time.perf_counter"

    def meddle(self) -> None:
        time.perf_counter = lambda: 0.0


class Sha(Meddler):
    name = "meddles-sha"
    change = "changed hashlib.sha256"

    def meddle(self) -> None:
        hashlib.sha256 = lambda data=b"": hashlib.blake2s(b"")  # type: ignore[assignment, misc]


class Counter(Meddler):
    name = "meddles-counter"
    change = "changed harness.sampling.call_counts.CallCounts.add"

    def meddle(self) -> None:
        CallCounts.add = lambda *args: None  # type: ignore[method-assign, assignment]


class Rule(Meddler):
    name = "meddles-rule"
    change = "changed harness.rows.row.judge"

    def meddle(self) -> None:
        row.judge = rules.judge = lambda known: []  # type: ignore[assignment]


class Finite(Meddler):
    name = "meddles-finite"
    change = "changed torch.isfinite"

    def meddle(self) -> None:
        torch.isfinite = torch.ones_like


class Threads(Meddler):
    name = "meddles-threads"
    change = "changed torch's number of threads"

    def meddle(self) -> None:
        torch.set_num_threads(3)


class Spins(Meddler):
    """Leaves a thread that computes for ever."""

    name = "meddles-thread"
    change = "left the thread spinner running"

    def meddle(self) -> None:
        threading.Thread(target=self.spin, name="spinner", daemon=True).start()

    def spin(self) -> None:
        while True:
            sum(range(1000))
            time.sleep(0.001)


class Child(Meddler):
    name = "meddles-child"
    change = "left the process"

    def meddle(self) -> None:
        self.child = subprocess.Popen(["sleep", CHILD_SECONDS])


class Modules(Meddler):
    name = "meddles-modules"
    change = "changed the module harness.rows.rules"

    def meddle(self) -> None:
        fake = ModuleType("harness.rows.rules")
        vars(fake).update(vars(rules), judge=lambda known: [])
        sys.modules["harness.rows.rules"] = fake


class Code(Meddler):
    name = "meddles-code"
    change = "changed harness.sampling.pixels.to_uint8"

    def meddle(self) -> None:
        def black(images: Tensor) -> Tensor:
            return (images * 0).to(torch.uint8)

        pixels.to_uint8.__code__ = black.__code__


class Defaults(Meddler):
    name = "meddles-defaults"
    change = "changed harness.integrity.leftovers._await, its defaults"

    def meddle(self) -> None:
        from harness.integrity import leftovers

        leftovers._await.__defaults__ = (0.0,)


class Model(Meddler):
    """Gives an Output a default that hides images that are not finite."""

    name = "meddles-model"
    change = "changed harness.specs.sample.SampleOutput.__pydantic_"

    def meddle(self) -> None:
        SampleOutput.model_fields["not_finite"].default = 0
        SampleOutput.model_rebuild(force=True)


class Profiler(Meddler):
    name = "meddles-profiler"
    change = "changed sys.setprofile"

    def meddle(self) -> None:
        sys.setprofile(lambda *args: None)


class Shadow(Meddler):
    """Hides a builtin from a module that judges."""

    name = "meddles-shadow"
    change = "changed harness.metrics.quality.len"

    def meddle(self) -> None:
        quality.len = lambda items: 1  # type: ignore[attr-defined]


class Builtin(Meddler):
    name = "meddles-builtin"
    change = "changed builtins.all"

    def meddle(self) -> None:
        import builtins

        builtins.all = lambda items: True  # type: ignore[assignment]


class Rules(Meddler):
    """Lets every timing be long enough."""

    name = "meddles-constants"
    change = "changed harness.specs.rules.timing.TIERS['smoke']"

    def meddle(self) -> None:
        timing.TIERS["smoke"] = timing.TIERS["paper"]


class Frozen(Meddler):
    """Changes a field of a frozen record in place."""

    name = "meddles-frozen"
    change = "changed harness.specs.rules.timing.TIERS['smoke'].rounds"

    def meddle(self) -> None:
        object.__setattr__(timing.TIERS["smoke"], "rounds", 1)


class Rival(Meddler):
    name = "meddles-rival"
    change = "changed methods.solvers.heun.Heun.step"

    def meddle(self) -> None:
        Heun.step = DDIM.step  # type: ignore[method-assign, assignment]


class Registered(Meddler):
    name = "meddles-registry"
    change = "changed harness.registry's methods['solver']['ddim']"

    def meddle(self) -> None:
        registry()._methods["solver"]["ddim"] = Heun


class Guard(Meddler):
    """Replaces the guard's own functions, and a name that they would have found."""

    name = "meddles-guard"
    change = "changed harness.integrity.changes.find_changes"

    def meddle(self) -> None:
        guard.find_changes = changes.find_changes = lambda kept: []
        changes.undo_changes = lambda kept, known: []
        worker.process_guard = guard.process_guard = lambda: None  # type: ignore[assignment, return-value]
        guard.Guard.restore_since = lambda *args: guard.Tampering()  # type: ignore[method-assign]
        pixels.image_digests = same_digests  # type: ignore[assignment]


class Handler(Meddler):
    name = "meddles-signal"
    change = "changed the handler of SIGUSR1"

    def meddle(self) -> None:
        signal.signal(signal.SIGUSR1, lambda number, frame: None)


class Collector(Meddler):
    name = "meddles-gc"
    change = "changed gc.callbacks"

    def meddle(self) -> None:
        gc.callbacks.append(lambda phase, info: None)


class Mode(Meddler):
    """Leaves a mode of torch on its stack, which sees every operator."""

    name = "meddles-mode"
    change = "changed torch dispatch modes"

    def meddle(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        FlopCounterMode(display=False).__enter__()


class Raises(Meddler):
    """Changes a digest and then fails, so that its own row is failed at most."""

    name = "meddles-raises"
    change = "changed harness.sampling.pixels.image_digests"

    def meddle(self) -> None:
        pixels.image_digests = same_digests  # type: ignore[assignment]
        raise ValueError("too late")


MEDDLERS: list[type[Meddler]] = list(Meddler.__subclasses__())
