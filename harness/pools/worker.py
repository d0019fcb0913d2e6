"""A worker owns one device: it runs a unit at a time, caches models, restores its process."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.sampling.numerics import fix_numerics
from harness.sampling.place import ModelCache, Place
from harness.specs.base import Spec
from harness.task import ALONE, Event, Progress, Ranks, Span


class Worker:
    """One device and the models on it. A CPU worker has one thread; float32 means IEEE float32.

    It lives in the worker's process: an actor of Ray, or the driver's process for `LocalPool`.
    """

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        self.device = torch.device(device)
        self._threads = threads
        self._models = ModelCache()
        fix_numerics(self.device, threads)

    def run(
        self, spec: Spec, inputs: Mapping[str, Any], span: Span | None = None, ranks: Ranks = ALONE
    ) -> Iterator[Event]:
        """Yield the events of one unit; the state of the process is restored after it."""
        fix_numerics(self.device, self._threads)
        task = importlib.import_module(spec.entry)
        with _restore_process_state():
            yield from task.run(spec, inputs, Place(self.device, self._models, span, ranks))


def thin_progress(
    events: Iterable[Event], seconds: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[Event]:
    """Yield the events without progress that comes within `seconds` of the last one."""
    last = clock()
    for event in events:
        if isinstance(event, Progress) and seconds > 0:
            if (now := clock()) - last < seconds:
                continue
            last = now
        yield event


@contextmanager
def _restore_process_state() -> Iterator[None]:
    """Restore folder, variables and torch's global settings, which a plug-in may change."""
    folder, variables = Path.cwd(), dict(os.environ)
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        os.chdir(folder)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.are_deterministic_algorithms_enabled():  # even switching it off imports modules for seconds
            torch.use_deterministic_algorithms(False)
