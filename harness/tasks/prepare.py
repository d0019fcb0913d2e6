"""Prepare: let a method train, tune or search what it needs, with its time and its FLOPs counted.

Counting slows small operators down several times, so of a long loop only a few passes are counted and stand for all.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.data.cards import DatasetCard
from harness.data.pixels import to_unit
from harness.registry import registry
from harness.seeds import ImageNoise
from harness.tasks import Event, Progress, Result

if TYPE_CHECKING:
    from harness.worker import Worker


_COUNTED_PASSES = 8


class Context:
    """What `methods.parts.PrepareContext` promises, for one preparation."""

    def __init__(self, spec: Mapping[str, Any], inputs: Mapping[str, Any], worker: Worker) -> None:
        card = DatasetCard(**spec["sampler"]["dataset"])
        data = card.shape()
        self.network = worker.network(spec["sampler"], inputs)
        self.seed = int(spec["seed"])
        self.sigma_min, self.sigma_max = card.sigma_min, card.sigma_max
        self.steps = int(spec["sampler"]["steps"])
        self.events: queue.Queue[Event | None] = queue.Queue()
        self._images = inputs["images"]
        self._noise = ImageNoise(card.name, 0, (data.channels, data.resolution, data.resolution))
        self._counter: FlopCounterMode | None = None
        self.flops = 0.0

    def images(self) -> Tensor:
        """Return the training images, float32 [n, channels, height, width] in [-1, 1]."""
        from harness.worker import resolve

        return to_unit(resolve(self._images))

    def noise(self, index: int) -> Tensor:
        """Return the preparation's own unit noise number `index`."""
        return self._noise.of_preparation(index)

    def passes(self, n: int) -> Iterator[int]:
        """Yield 0 to n - 1, counting some passes, spread evenly; the others are taken to cost their mean."""
        self.count(False)
        counted = {n * k // _COUNTED_PASSES for k in range(_COUNTED_PASSES)}
        before = self.flops
        for i in range(n):
            self.count(i in counted)
            yield i
        self.count(False)
        self.flops = before + (self.flops - before) * n / max(len(counted), 1)
        self.count(True)

    def count(self, on: bool) -> None:
        """Count from now on, or stop and add up; torch counts per thread, so call it in the thread that works."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self.flops += self._counter.get_total_flops()
            self._counter = None
        if on:
            self._counter = FlopCounterMode(display=False)
            self._counter.__enter__()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell how far the work has come."""
        self.events.put(Progress(done, total, note))


def run(spec: dict[str, Any], inputs: Mapping[str, Any], worker: Worker) -> Iterator[Event]:
    """Yield the method's progress as it comes, then its artifact with the price paid for it."""
    method = registry().make(spec["part"], spec["method"]["name"], spec["method"]["params"])
    context = Context(spec, inputs, worker)
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            context.count(True)
            outcome["artifact"] = method.prepare(context)
            context.count(False)
        except BaseException as error:
            outcome["error"] = error
        finally:
            context.events.put(None)

    began = time.perf_counter()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while (event := context.events.get()) is not None:
        yield event
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    artifact = outcome["artifact"]
    tensors = {name: value.detach().cpu().numpy() for name, value in artifact.tensors.items()}
    price = {"seconds": time.perf_counter() - began, "flops": context.flops}
    yield Result(tensors, {"artifact": dict(artifact.facts), "price": price})
