"""Time: latency and throughput of a trial, interleaved with the suite's clock trial on one, otherwise idle, device.

One block = warm-up, then rounds. A round calls trial and clock once per kind, in random order, so each round gives one
paired ratio per kind. The clock trial timed against itself is the A/A row: the noise floor of all the others.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness.device import EnergyMeter, clocked, device_name, gauges, peak_memory
from harness.group import Group
from harness.sampling import Sampler
from harness.tasks import Event, Progress, Result
from harness.tasks.sample import image_digests
from harness.timing_rules import TIERS, Tier, steady

if TYPE_CHECKING:
    from harness.worker import Worker

_WARM_UP_INDEX = 1 << 40  # images that no trial scores
_ENERGY_SECONDS = 5.0


def run(spec: dict[str, Any], inputs: Mapping[str, Any], worker: Worker) -> Iterator[Event]:
    """Yield progress per round, then every repetition, peak memory, energy and digests of the timed images.

    With several ranks the first one clocks; the others make the trial's images with it. The clock trial is its alone.
    """
    group = Group(spec["group"], worker.device, spec["deadline_seconds"])
    trial = worker.sampler(spec["sampler"], inputs, peers=group.peers)
    if not group.leads:
        for indices in group.followed():
            trial.images(indices)
        group.leave()
        yield Result()
        return
    block = _Block(
        tier=TIERS[spec["tier"]],
        samplers={"trial": trial, "baseline": worker.sampler(spec["clock"], inputs)},
        group=group,
        batch=spec["batch"],
        n_images=spec["n_images"],
        comparable=spec["batch"] == min(spec["sampler"]["batch"], spec["n_images"]),
        rng=random.Random(spec["order_seed"]),
    )
    block.warm_up()
    yield from block.rounds()
    memory = peak_memory(block.call("trial", "throughput", 0), worker.device)
    energy = block.energy() if group.size == 1 else None  # the meter knows this device only
    group.end()
    group.leave()
    facts = {
        "repetitions": block.repetitions,
        "peak_memory_bytes": memory,
        "energy_joules_per_image": energy,
        "device_name": device_name(worker.device),
        "audit": block.audit,
    }
    yield Result({}, facts)


@dataclass
class _Block:
    tier: Tier
    samplers: dict[str, Sampler]
    group: Group
    batch: int
    n_images: int
    comparable: bool
    """Whether timed and scored images meet the same batch; bytes are not promised across batch sizes."""
    rng: random.Random
    repetitions: list[dict[str, Any]] = field(default_factory=list)
    audit: dict[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        return {"latency": 1, "throughput": self.batch}

    def call(self, role: str, kind: str, first: int) -> Callable[[], Tensor]:
        """Return a call that is to be made at once: the other ranks have been told of it."""
        if role == "trial":
            self.group.announce(first, self.sizes[kind])
        return lambda: self.samplers[role].images(range(first, first + self.sizes[kind]))

    def warm_up(self) -> None:
        """Run each kind of call until its time is steady, within the tier's limits."""
        for role, sampler in self.samplers.items():
            for kind in self.sizes:
                seconds: list[float] = []
                while not self._warm(seconds):
                    seconds.append(clocked(self.call(role, kind, _WARM_UP_INDEX), sampler.device)[1].seconds)

    def _warm(self, seconds: list[float]) -> bool:
        enough = len(seconds) >= self.tier.warm_up_calls and sum(seconds) >= self.tier.warm_up_seconds
        return enough and (steady(seconds) or len(seconds) >= self.tier.warm_up_most)

    def rounds(self) -> Iterator[Event]:
        """Run rounds until the tier has its count and its seconds."""
        began, done = time.perf_counter(), 0
        while done < self.tier.rounds or time.perf_counter() - began < self.tier.seconds:
            calls = [(role, kind) for kind in self.sizes for role in self.samplers]
            self.rng.shuffle(calls)
            for role, kind in calls:
                self._repeat(role, kind, done)
            done += 1
            yield Progress(done, max(self.tier.rounds, done), "rounds")

    def _repeat(self, role: str, kind: str, number: int) -> None:
        device = self.samplers[role].device
        size = self.sizes[kind]
        first = (number * size) % max(self.n_images - size + 1, 1) // size * size
        images, reading = clocked(self.call(role, kind, first), device)
        if self.comparable and role == "trial" and kind == "throughput" and len(images) == size:
            digests = image_digests(images)
            self.audit.update({str(first + row): digests[row].tobytes().hex() for row in (0, size - 1)})
        self.repetitions.append(
            {
                "kind": kind,
                "role": role,
                "round": number,
                "order": len(self.repetitions),
                "batch": size,
                "seconds": reading.seconds,
                "process_seconds": reading.process_seconds,
                "device_seconds": reading.device_seconds,
                **gauges(device),
            }
        )

    def energy(self) -> float | None:
        """Return joules per image of the trial over a window long enough for the counter, idle included; or None."""
        trial = self.samplers["trial"]
        meter = EnergyMeter(trial.device)
        before = meter.joules()
        if before is None:
            return None
        began, images = time.perf_counter(), 0
        while time.perf_counter() - began < _ENERGY_SECONDS:
            images += len(self.call("trial", "throughput", 0)())
        after = meter.joules()
        return None if after is None else (after - before) / images
