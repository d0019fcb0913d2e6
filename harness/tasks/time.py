"""Time: latency and throughput of a trial, interleaved with the suite's clock trial on one, otherwise idle, device.

One block = warm-up, then rounds. A round calls trial and clock once per kind, in random order, so each round gives one
paired ratio per kind. The clock trial timed against itself is the A/A row: the noise floor of all the others. Where the
trial's executor is parallel a round also calls its serial twin, for one image, and virtual times follow the rounds.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from harness.identity import identity
from harness.measure.call_times import Calls, virtual_rows
from harness.measure.device import EnergyMeter, clocked, device_name, gauges, peak_memory
from harness.measure.warm_up import is_steady
from harness.sampling.build import build_sampler
from harness.sampling.pixels import image_digests, to_uint8
from harness.sampling.place import Place
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler, Work
from harness.specs.base import decisive
from harness.specs.rules.timing import ENERGY_SECONDS, TIERS, TierRules
from harness.specs.sampler import SamplerSpec
from harness.specs.time import Repetition, TimeOutput, TimeSpec, VirtualTime
from harness.task import Event, Progress, Result

_IMAGES = 0
"""The word by which the first rank announces that all make images together."""
_WARM_UP_INDEX = 1 << 40  # images that no trial scores


def run(spec: TimeSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress per round, then every repetition, peak memory, energy, virtual times and digests of timed images.

    With several ranks the first one clocks, and has the result; the others make the trial's images with it. The clock
    trial and the serial twin are its alone.
    """
    group = Group(place.ranks, place.device)
    trial = build_sampler(spec.sampler, inputs, place, group.peers)
    twin = {"serial": build_sampler(serially(spec.sampler), inputs, place)} if trial.executor.parallel else {}
    calls = Calls(trial, group) if twin else None
    if not group.leads:
        for word, indices in group.followed():
            if word == _IMAGES:
                trial.images(indices)
            elif calls is not None:
                calls.join(word, indices)
        group.leave()
        return
    block = _Block(
        tier=TIERS[spec.tier],
        samplers={"trial": trial, "baseline": build_sampler(spec.clock, inputs, place), **twin},
        group=group,
        batch=spec.batch,
        n_images=spec.n_images,
        comparable=spec.batch == min(spec.sampler.batch, spec.n_images),
        rng=random.Random(identity(decisive(spec))),
    )
    warm_up_calls = block.warm_up()
    modelled = bool(trial.executor.device_counts(trial.sigmas))
    yield from block.rounds(calls if modelled else None)
    memory = peak_memory(block.call("trial", "throughput", 0), place.device)
    energy = block.energy() if group.size == 1 else None  # the meter knows this device only
    virtual = [] if calls is None else block.virtual(calls)
    group.end()
    group.leave()
    output = TimeOutput(
        repetitions=block.repetitions,
        virtual=virtual,
        peak_memory_bytes=memory,
        energy_joules_per_image=energy,
        device_name=device_name(place.device),
        rounds=block.done,
        block_seconds=block.seconds,
        warm_up_calls=warm_up_calls,
        digests=block.digests,
    )
    yield Result(output)


def serially(sampler: SamplerSpec) -> SamplerSpec:
    """Return the same sampler under the serial executor."""
    return sampler.model_copy(update={"executor": sampler.serial, "devices": 1})


@dataclass
class _Block:
    tier: TierRules
    samplers: dict[str, Sampler]
    group: Group
    batch: int
    n_images: int
    comparable: bool
    """Whether timed and scored images meet the same batch; bytes are not promised across batch sizes."""
    rng: random.Random
    repetitions: list[Repetition] = field(default_factory=list)
    works: dict[tuple[str, str], list[Work]] = field(default_factory=lambda: defaultdict(list))
    """What ran in the timed calls, by role and kind."""
    digests: dict[int, str] = field(default_factory=dict)
    done: int = 0
    """Rounds."""
    seconds: float = 0.0
    """Of all rounds so far."""

    @property
    def sizes(self) -> dict[str, int]:
        return {"latency": 1, "throughput": self.batch}

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Return the roles and kinds of the calls of a round; a serial twin is there for its latency."""
        both = [(role, kind) for role in self.samplers for kind in self.sizes]
        return [one for one in both if one != ("serial", "throughput")]

    def call(self, role: str, kind: str, first: int, work: Work | None = None) -> Callable[[], Tensor]:
        """Return a call that is to be made at once: the other ranks have been told of it."""
        sampler, indices = self.samplers[role], range(first, first + self.sizes[kind])
        if role == "trial":
            self.group.announce(_IMAGES, first, len(indices))
        return lambda: to_uint8(sampler.run(indices, work)).cpu()

    def warm_up(self) -> int:
        """Run each kind of call until its time is steady, within the tier's limits; return the fewest calls of one."""
        counts = []
        for role, kind in self.calls:
            seconds: list[float] = []
            while not self._warm(seconds):
                device = self.samplers[role].device
                seconds.append(clocked(self.call(role, kind, _WARM_UP_INDEX), device)[1].seconds)
            counts.append(len(seconds))
        return min(counts)

    def _warm(self, seconds: list[float]) -> bool:
        enough = len(seconds) >= self.tier.warm_up_calls and sum(seconds) >= self.tier.warm_up_seconds
        return enough and (is_steady(seconds) or len(seconds) >= self.tier.warm_up_most)

    def rounds(self, calls: Calls | None) -> Iterator[Event]:
        """Run rounds until the tier has its count and its seconds; a modelled executor's hold a loop of calls."""
        began = time.perf_counter()
        while self.done < self.tier.rounds or self.seconds < self.tier.seconds:
            for role, kind in self.rng.sample(self.calls, len(self.calls)):
                self._repeat(role, kind, self.done)
            if calls is not None:
                calls.loop(crowded=self.group.size > 1)

            self.done += 1
            self.seconds = time.perf_counter() - began
            yield Progress(self.done, max(self.tier.rounds, self.done), "rounds")

    def _repeat(self, role: str, kind: str, number: int) -> None:
        device = self.samplers[role].device
        size, work = self.sizes[kind], Work()
        first = (number * size) % max(self.n_images - size + 1, 1) // size * size
        images, reading = clocked(self.call(role, kind, first, work), device)
        if self.comparable and role == "trial" and kind == "throughput" and len(images) == size:
            digests = image_digests(images)
            self.digests.update({first + row: digests[row].tobytes().hex() for row in (0, size - 1)})
        self.works[role, kind].append(work)
        self.repetitions.append(
            Repetition(
                kind=kind,
                role=role,
                round=number,
                order=len(self.repetitions),
                batch=size,
                seconds=reading.seconds,
                process_seconds=reading.process_seconds,
                device_seconds=reading.device_seconds,
                **gauges(device),
            )
        )

    def virtual(self, calls: Calls) -> list[VirtualTime]:
        """Return the trial's virtual times, replayed with the refinements of the images that were timed."""
        iterations = [k for work in self.works["trial", "latency"] for k in work.traced.iterations]
        return virtual_rows(
            self.samplers["trial"], calls, iterations, self._median("serial"), measured=self._median("trial")
        )

    def _median(self, role: str) -> float:
        """Return the median latency."""
        timed = [r.seconds for r in self.repetitions if (r.role, r.kind) == (role, "latency")]
        return float(np.median(timed))

    def energy(self) -> float | None:
        """Return joules per image of the trial over a window long enough for the counter, idle included; or None."""
        meter = EnergyMeter(self.samplers["trial"].device)
        before = meter.joules()
        if before is None:
            return None
        began, images = time.perf_counter(), 0
        while time.perf_counter() - began < ENERGY_SECONDS:
            images += len(self.call("trial", "throughput", 0)())
        after = meter.joules()
        return None if after is None else (after - before) / images
