"""Time: latency and throughput of a trial, interleaved with the clock trial on otherwise idle hosts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.specs.audits import CountedWork, TimedWork, TimeLooks
from harness.specs.base import Closed, Output, Policy, Spec
from harness.specs.sampler import SamplerSpec

Tier = Literal["smoke", "quick", "paper"]
"""Names of the rules of repetition; tiers never share a ranking."""


class Repetition(Closed):
    """One timed call. Seconds are those of the whole call, for all images of its batch."""

    kind: str
    """"latency" or "throughput"."""
    role: str
    """"trial", "baseline" or "serial"."""
    block: int
    """Blocks, their rounds and the order in a block count from 0."""
    round: int
    order: int
    batch: int
    seconds: float
    process_seconds: float | None
    device_seconds: float | None
    sm_clock_mhz: float | None
    temperature_celsius: float | None
    foreign_processes: int | None
    """Other processes that computed on the GPU; None where that is not known."""
    throttle: str | None
    """Why the GPU was throttled; empty where it was not, None where that is not known."""


class TimedBlock(Closed):
    """What one block did, and whether other work disturbed it."""

    rounds: int
    seconds: float
    """From the start of the first round to the end of the last."""
    cpu_share: float
    """Own CPU seconds over wall seconds of the judged calls, median."""
    disturbed_share: float
    """Of the judged calls."""
    disturbed: str
    """How it was disturbed, or empty."""


class VirtualTime(Closed):
    """The latency that an executor's model predicts on `devices` devices."""

    devices: int
    is_real: bool
    iterations: float
    call_seconds: float
    crowded_call_seconds: float | None
    hop_seconds: float | None
    serial_seconds: float
    virtual_latency_seconds: float
    measured_latency_seconds: float | None


class TimeOutput(Output):
    """Every repetition, with memory, energy, virtual times, and what the timed calls did."""

    repetitions: list[Repetition]
    virtual: list[VirtualTime]
    peak_memory_bytes: int | None
    energy_joules_per_image: float | None
    device_name: str
    blocks: list[TimedBlock]
    """All that ran, in order."""
    counted: int
    """Index of the block that counts: the first undisturbed one, else the least disturbed."""
    own_cpu: bool
    """Whether CPU seconds of the process are all of the trial's work: on a CPU, one rank, one thread."""
    warm_up_calls: int
    """Of the kind and role that had fewest."""
    work: list[TimedWork] = Field(default_factory=list)
    """What ran in every call of the trial, and the images that it made."""
    weights_changed: bool = False
    """Whether the network's weights were others afterwards."""
    counted_batch: CountedWork | None = None
    """Of one call of the warm-up, with a whole batch."""
    decode_seconds: list[float] = Field(default_factory=list)
    """Of calls that decode a whole batch, by themselves; none where states are pictures."""
    looks: TimeLooks | None = None
    """Seconds of calls beyond the timed ones."""


class TimeSpec(Spec):
    """A trial's sampler and the clock's, which are timed in turn."""

    kind = "time"
    entry = "harness.tasks.time"
    output = TimeOutput
    policy = Policy(exclusive=True)

    sampler: SamplerSpec
    clock: SamplerSpec
    tier: Tier
    batch: int
    n_images: int
    device_name: str

    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.sampler.needs(), *self.clock.needs())))

    def ranks(self) -> int:
        return self.sampler.devices
