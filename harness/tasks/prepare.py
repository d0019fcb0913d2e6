"""Prepare: let a method train, tune or search what it needs, with its time and its FLOPs counted."""

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

    def images(self) -> Tensor:
        """Return the training images, float32 [n, channels, height, width] in [-1, 1]."""
        from harness.worker import resolve

        return to_unit(resolve(self._images))

    def noise(self, index: int) -> Tensor:
        """Return the preparation's own unit noise number `index`."""
        return self._noise.of_preparation(index)

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
            with FlopCounterMode(display=False) as counter:  # counts per thread, so it lives in the thread that works
                outcome["artifact"] = method.prepare(context)
            outcome["flops"] = counter.get_total_flops()
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
    price = {"seconds": time.perf_counter() - began, "flops": outcome["flops"]}
    yield Result(tensors, {"artifact": dict(artifact.facts), "price": price})
