"""Time: latency and throughput of a trial, interleaved with the suite's clock trial on an otherwise idle device.

After a warm-up, until times are steady, come blocks of rounds. A round calls trial and clock once per kind, in random
order, and so gives one paired ratio per kind. The clock trial timed against itself is the A/A row, the noise floor of
all others. For a parallel executor a round also calls the same sampler under the serial executor, for one image;
virtual times follow. Ranks that make images together begin a timed call together, and it takes as long as the slowest.

A block that other work disturbed is repeated, at most twice. The first undisturbed one counts, else the least
disturbed. docs/timing.md has the rules, point by point.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.identity import content_hash
from harness.measure.call_times import CallTimer, replay_virtual_times
from harness.measure.device import CallTiming, EnergyMeter, MemoryPeak, measure_memory, timed_call
from harness.measure.device_names import device_name
from harness.measure.disturbance import counted_block, judge_block
from harness.measure.energy import energy_per_image, energy_window, idle_watts
from harness.measure.gpu_state import GpuGauges
from harness.measure.operator_flops import operator_flops
from harness.measure.usable_cores import usable_cores
from harness.measure.warm_up import is_steady, is_warm
from harness.sampling.build import build_sampler, load_network
from harness.sampling.call_counts import CallCounts
from harness.sampling.deployed import compile_seconds
from harness.sampling.pixels import to_uint8
from harness.sampling.place import Place
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler
from harness.specs.audits import CountedWork, TimeLooks
from harness.specs.base import deciding_fields
from harness.specs.rules.audits import NEW_IMAGES_REPEATS, SLOW_NEW_IMAGES
from harness.specs.rules.timing import DECODE_CALLS, MOST_REPEATS, TIERS, TierRules
from harness.specs.sampler import SamplerSpec
from harness.specs.time import Repetition, TimedBlock, TimeOutput, TimeSpec, VirtualTime, WarmUp
from harness.task import Event, Progress, Result
from harness.tasks.probe import counted_work
from harness.tasks.time_checks import draw_new_index, look_at_repeats, own_seconds, time_units
from harness.tasks.timed_audit import TimedAudit
from methods.networks.base import Network

_IMAGES, _TIMED_IMAGES = 0, 3
"""Rank zero's commands that all ranks make these images together, and that they begin together and tell their time."""
_WARM_UP_INDEX = 1 << 40  # images that no trial scores


def run(spec: TimeSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress per round, then repetitions, peak memory, energy, virtual times, and what the timed calls did.

    With several ranks rank zero measures and has the result; the others make the trial's images with it. The clock
    trial and the sampler under the serial executor run on rank zero alone.
    """
    # the device at rest, and samplers of this rank
    idle = idle_watts(place.device) if place.ranks.rank == 0 else None
    warm_up_peak = MemoryPeak(place.device)
    group = Group(place.ranks, place.device)
    place.models.drop_changed()
    trial = build_sampler(spec.sampler, inputs, place, group.peers)
    serial = (
        {"serial": build_sampler(with_serial_executor(spec.sampler), inputs, place)} if trial.executor.parallel else {}
    )
    call_timer = CallTimer(trial, group) if serial else None

    # other ranks: make images until rank zero stops
    if not group.is_rank_zero:
        for command, indices in group.commands():
            if command == _IMAGES:
                trial.images(indices)
            elif command == _TIMED_IMAGES:
                group.barrier()
                group.slowest(timed_call(partial(trial.images, indices), place.device)[1].seconds)
            elif call_timer is not None:
                call_timer.run_command(command, indices)
        group.close()
        return

    # rank zero: timed blocks
    timed = _TimedCalls(
        tier=TIERS[spec.tier],
        samplers={"trial": trial, "baseline": build_sampler(spec.clock, inputs, place), **serial},
        group=group,
        batch=spec.batch,
        n_images=spec.n_images,
        audit=TimedAudit(spec.batch, min(spec.sampler.batch, spec.n_images), group.size),
        rng=random.Random(content_hash(deciding_fields(spec))),
    )
    warm_ups = timed.warm_up()
    warm_up_memory = warm_up_peak.read()
    modelled = bool(trial.executor.device_counts(trial.sigmas))
    yield from timed.run_blocks(call_timer if modelled else None)

    # untimed: memory, energy, virtual times
    memory = measure_memory(timed.prepare_call("trial", "throughput", 0), place.device)
    energy = timed.measure_energy() if group.size == 1 else None  # the meter knows this device only
    virtual = [] if call_timer is None else timed.virtual_times(call_timer)
    decoding = timed.time_decoding()
    network = load_network(spec.sampler.model, inputs, place, spec.sampler.mode)
    looks = timed.look_at_units(network, decoding)
    group.broadcast_stop()
    group.close()
    load_seconds = None if trial.owns_network else _time_loading(spec.sampler, inputs, place.device)

    output = TimeOutput(
        repetitions=timed.repetitions,
        virtual=virtual,
        peak_memory_bytes=memory.allocated,
        peak_reserved_bytes=memory.reserved,
        device_memory_bytes=memory.device_used,
        warm_up_memory_bytes=warm_up_memory.allocated,
        energy_joules_per_image=energy,
        idle_watts=idle,
        # before the blocks
        load_seconds=load_seconds,
        compile_seconds=compile_seconds(network, trial.denoiser),
        warm_ups=warm_ups,
        warm_up_calls=min(one.calls for one in warm_ups),
        # the blocks, and the device
        blocks=timed.blocks,
        counted=counted_block(timed.blocks),
        own_cpu=timed.own_cpu,
        alone=spec.alone,
        threads=torch.get_num_threads(),
        usable_cores=len(usable_cores()),
        device_name=device_name(place.device),
        foreign_check=timed.gauges.foreign_check,
        gpu_sharing=timed.gauges.sharing(),
        power_limit_watts=timed.gauges.power_limit_watts(),
        # audits
        audit_seconds=timed.audit.seconds,
        work=timed.audit.work(),
        weights_changed=place.models.drop_changed(),
        counted_batch=timed.counted_batch,
        decode_seconds=[wall for wall, _ in decoding],
        looks=looks,
    )
    yield Result(output)


def with_serial_executor(sampler: SamplerSpec) -> SamplerSpec:
    """Return the same sampler under the serial executor."""
    return sampler.model_copy(update={"executor": sampler.serial, "devices": 1})


def _time_loading(sampler: SamplerSpec, inputs: Mapping[str, Any], device: torch.device) -> float:
    """Return the seconds of building a sampler from weights in memory, none of its models at hand."""
    return timed_call(lambda: build_sampler(sampler, inputs, Place(device)), device)[1].seconds


@dataclass
class _TimedCalls:
    """Rank zero's timed calls of one task: warm-up, blocks of rounds, and what ran in them."""

    tier: TierRules
    samplers: dict[str, Sampler]
    group: Group
    batch: int
    n_images: int
    audit: TimedAudit
    rng: random.Random
    repetitions: list[Repetition] = field(default_factory=list)
    call_counts: dict[tuple[str, str], list[CallCounts]] = field(default_factory=lambda: defaultdict(list))
    """What ran in the timed calls, by role and kind."""
    blocks: list[TimedBlock] = field(default_factory=list)
    """Those that are done, judged."""
    counted_batch: CountedWork | None = None
    """What ran in a batch of the warm-up that a counter of operators watched."""
    watched_seconds: float = 0.0
    new_images: dict[str, float] = field(default_factory=dict)
    """Seconds of the last warm-up call of a kind, whose images were never made before."""

    def __post_init__(self) -> None:
        self.gauges = GpuGauges(self.samplers["trial"].device)

    @property
    def own_cpu(self) -> bool:
        """Return whether CPU seconds of this process are all of the trial's work."""
        on_cpu = self.samplers["trial"].device.type == "cpu"
        return on_cpu and self.group.size == 1 and torch.get_num_threads() == 1

    @property
    def sizes(self) -> dict[str, int]:
        """Return images per call, by kind."""
        return {"latency": 1, "throughput": self.batch}

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Return the roles and kinds of the calls of a round; under the serial executor only latency is timed."""
        both = [(role, kind) for role in self.samplers for kind in self.sizes]
        return [one for one in both if one != ("serial", "throughput")]

    def prepare_call(
        self, role: str, kind: str, first: int, call_counts: CallCounts | None = None, command: int = _IMAGES
    ) -> Callable[[], Tensor]:
        """Return a call to be made at once: the other ranks already have the command."""
        sampler, indices = self.samplers[role], range(first, first + self.sizes[kind])
        if role == "trial":
            self.group.broadcast_command(command, first, len(indices))
        return lambda: sampler.images(indices, call_counts)

    def _time_call(self, role: str, kind: str, first: int, counts: CallCounts) -> tuple[Tensor, CallTiming, int | None]:
        """Return images and seconds of a call; of ranks that make it together, those of the slowest, and its number."""
        device, together = self.samplers[role].device, role == "trial" and self.group.size > 1
        call = self.prepare_call(role, kind, first, counts, _TIMED_IMAGES if together else _IMAGES)
        if not together:
            return *timed_call(call, device), None
        self.group.barrier()
        images, own = timed_call(call, device)
        seconds, rank = self.group.slowest(own.seconds)
        return images, replace(own, seconds=seconds), rank

    def warm_up(self) -> list[WarmUp]:
        """Run each kind of call until its time is steady, within the tier's limits; return what that took."""
        return [self._warm_up_kind(role, kind) for role, kind in self.calls]

    def _warm_up_kind(self, role: str, kind: str) -> WarmUp:
        seconds: list[float] = []
        while not is_warm(seconds, self.tier):
            seconds.append(self._warm_up_call(role, kind, is_first=not seconds))
        steady = is_steady(seconds, self.tier)
        return WarmUp(role=role, kind=kind, calls=len(seconds), seconds=sum(seconds), is_steady=steady)

    def _warm_up_call(self, role: str, kind: str, is_first: bool) -> float:
        """Return the seconds of one call before the rounds.

        Those of the trial make new images, and are looked at: how long the last took, and what ran in the first batch.
        """
        sampler = self.samplers[role]
        if role != "trial":
            return timed_call(self.prepare_call(role, kind, _WARM_UP_INDEX), sampler.device)[1].seconds
        if is_first and kind == "throughput":
            seconds = self._watch_batch()
            if self.tier.warm_up_calls > 1:
                return seconds  # the only call must not be one that a counter slows

        seconds, self.new_images[kind] = self._time_new_images(kind)
        return seconds

    def _time_new_images(self, kind: str) -> tuple[float, float]:
        """Return wall seconds of a call with images that were never made before, and its own."""
        return own_seconds(self.prepare_call("trial", kind, draw_new_index()), self.samplers["trial"].device)

    def _time_new_images_again(self, kind: str) -> None:
        """Take the least of further calls with new images where one took long: another program may have slowed it."""
        for _ in range(NEW_IMAGES_REPEATS):
            if self.new_images[kind] <= SLOW_NEW_IMAGES * self._median("trial", kind):
                return
            self.new_images[kind] = min(self.new_images[kind], self._time_new_images(kind)[1])

    def _watch_batch(self) -> float:
        """Return the seconds of a call with a batch while counters of operators watch it: sampling, then decoding."""
        trial, first = self.samplers["trial"], draw_new_index()
        began, call_counts = time.perf_counter(), CallCounts()
        self.group.broadcast_command(_IMAGES, first, self.batch)
        with operator_flops() as flops:
            states = trial.run(range(first, first + self.batch), call_counts)
        with operator_flops() as decoding:
            to_uint8(trial.decode(states)).cpu()

        ran = {"decoded": 0 if trial.decoder is None else self.batch, "decoding_flops": dict(decoding)}
        self.counted_batch = counted_work(call_counts, flops).model_copy(update=ran)
        self.watched_seconds = time.perf_counter() - began
        return self.watched_seconds

    def run_blocks(self, call_timer: CallTimer | None) -> Iterator[Event]:
        """Run a block, and again while the last one was disturbed, as often as the rules allow.

        Those of an executor with a model also time a loop of calls per round; loops of a disturbed block are dropped.
        """
        while not self.blocks or (self.blocks[-1].disturbed and len(self.blocks) <= MOST_REPEATS):
            if call_timer is not None:
                call_timer.drop_loops()
            yield from self._run_rounds(call_timer)

    def _run_rounds(self, call_timer: CallTimer | None) -> Iterator[Event]:
        """Run rounds until the tier's count and seconds are reached, then judge the block."""
        before, first, done, seconds = sum(one.rounds for one in self.blocks), len(self.repetitions), 0, 0.0
        note = f"rounds; again, since it {self.blocks[-1].disturbed}" if self.blocks else "rounds"
        state = self.gauges.read_idle()
        began = time.perf_counter()

        while done < self.tier.rounds or seconds < self.tier.seconds:
            for role, kind in self.rng.sample(self.calls, len(self.calls)):
                self._repeat(role, kind, done, len(self.repetitions) - first)
            if call_timer is not None:
                call_timer.loop(contended=self.group.size > 1)

            done += 1
            seconds = time.perf_counter() - began
            yield Progress(before + done, before + max(self.tier.rounds, done), note)

        device = self.samplers["trial"].device
        self.blocks.append(judge_block(self.repetitions[first:], seconds, device, self.group.size, state))

    def _repeat(self, role: str, kind: str, number: int, order: int) -> None:
        """Time one call of round `number` and record it."""
        size, call_counts = self.sizes[kind], CallCounts()
        first = (number * size) % max(self.n_images - size + 1, 1) // size * size
        images, timing, slowest = self._time_call(role, kind, first, call_counts)

        # not timed: the record
        if role == "trial":
            self.audit.record(kind, first, images, call_counts)
        self.call_counts[role, kind].append(call_counts)

        self.repetitions.append(
            Repetition(
                kind=kind,
                role=role,
                block=len(self.blocks),
                round=number,
                order=order,
                batch=size,
                seconds=timing.seconds,
                process_seconds=timing.process_seconds,
                device_seconds=timing.device_seconds,
                slowest_rank=slowest,
                **self.gauges.read().model_dump(),
            )
        )

    def virtual_times(self, call_timer: CallTimer) -> list[VirtualTime]:
        """Return the trial's virtual times, replayed with the refinements of the images that were timed."""
        iterations = [k for counts in self.call_counts["trial", "latency"] for k in counts.executor_stats.iterations]
        return replay_virtual_times(
            self.samplers["trial"], call_timer, iterations, self._median("serial"), measured=self._median("trial")
        )

    def _median(self, role: str, kind: str = "latency") -> float:
        """Return the median seconds of a role's calls of a kind in the block that counts."""
        wanted = counted_block(self.blocks), role, kind
        timed = [r.seconds for r in self.repetitions if (r.block, r.role, r.kind) == wanted]
        return float(np.median(timed))

    def time_decoding(self) -> list[tuple[float, float]]:
        """Return wall seconds, and own ones, of calls that decode a whole batch; none where states are pictures."""
        trial = self.samplers["trial"]
        if trial.decoder is None:
            return []
        first = draw_new_index()
        states = trial.initial_state(range(first, first + self.batch))  # the work is that of any states
        call = partial(trial.decode, states)
        return [own_seconds(call, trial.device) for _ in range(DECODE_CALLS)]

    def look_at_units(self, network: Network, decoding: Sequence[tuple[float, float]]) -> TimeLooks:
        """Return seconds of calls with new images, of units by themselves, and of the decoder.

        Makes the scored batch where that is another, to compare its images with timed ones. Nothing here is timed.
        """
        began, trial = time.perf_counter(), self.samplers["trial"]
        assert self.counted_batch is not None
        for kind in self.sizes:
            if kind == "latency" or self.tier.warm_up_calls == 1:  # a process's first call takes longer
                self.new_images[kind] = self._time_new_images(kind)[1]
            self._time_new_images_again(kind)

        # units, and the scored batch
        by_unit, whole = time_units(trial, network, self.counted_batch.units, self.batch)
        if not self.audit.comparable:
            counts, size = CallCounts(), self.audit.scored_batch
            self.group.broadcast_command(_IMAGES, 0, size)
            images = trial.images(range(size), counts)
            self.audit.record("untimed", 0, images, counts)

        # a warm-up call is made in any case; the counter made one longer
        longer = max(self.watched_seconds - self._median("trial", "throughput"), 0.0)
        self.audit.seconds += time.perf_counter() - began + longer
        decoder = min((own for _, own in decoding), default=0.0)
        repeats = (
            {kind: look_at_repeats(trial, size) for kind, size in self.sizes.items()} if trial.owns_network else {}
        )
        return TimeLooks(new_images=self.new_images, units=by_unit, network=whole, decoder=decoder, repeats=repeats)

    def measure_energy(self) -> float | None:
        """Return joules per image of the trial, idle power included; None without a counter."""
        device = self.samplers["trial"].device
        return energy_per_image(
            lambda: len(self.prepare_call("trial", "throughput", 0)()), EnergyMeter(device), energy_window(device)
        )
