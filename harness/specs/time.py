"""Time: latency and throughput of a trial, interleaved with the clock trial on otherwise idle hosts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.specs.audits import CountedWork, TimedWork, TimeLooks
from harness.specs.base import Closed, DecidesNothingAs, Output, Policy, Spec
from harness.specs.sampler import SamplerSpec

Tier = Literal["smoke", "quick", "paper"]
"""Names of the rules of repetition; tiers never share a ranking."""

Alone = Literal["node", "device"]
"""What a timing has to itself: a whole host, or its own devices while others of the host work."""


class GpuState(Closed):
    """The state of a GPU at one moment; each is None where it is not known."""

    sm_clock_mhz: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    power_capped: bool | None = None
    """Whether its power limit slowed it: it belongs to the device as the row declares it, and voids nothing."""
    throttle: str | None = None
    """Why else it was slowed: heat, or a fault of the power supply; empty where it was not."""
    foreign_processes: int | None = None
    """Other processes that computed on it; where these are not listed, 1 for memory or load that are not explained."""
    neighbours_load: float | None = None
    """Share of time, 0 to 1, in which the host's other GPUs worked of late, their mean; None also without others."""


class Repetition(GpuState):
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
    slowest_rank: int | None = None
    """Whose seconds these are, of several that made it together; None for one."""


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
    foreign_share: float | None = None
    """Share of the readings of a GPU that found another process there, the one before the block included."""
    throttled_share: float | None = None
    """The same of those that found it throttled."""
    clock_drift: float | None = None
    """By which share the clock trial's seconds moved within the block; None for one of few rounds."""


class WarmUp(Closed):
    """The untimed calls of a role and kind before the rounds."""

    role: str
    kind: str
    calls: int
    seconds: float
    is_steady: bool | None
    """Whether the times of its last calls agreed; None where the tier does not judge it."""


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
    warm_ups: list[WarmUp] = Field(default_factory=list)
    """Of all."""
    load_seconds: float | None = None
    """Of building the sampler from weights in memory; None for a pipeline that loads by itself."""
    compile_seconds: float | None = None
    """Of compiling what the trial runs, in this process; None where nothing is compiled."""
    idle_watts: float | None = None
    peak_reserved_bytes: int | None = None
    device_memory_bytes: int | None = None
    warm_up_memory_bytes: int | None = None
    """Peak of the warm-up, with what was compiled in it."""
    threads: int | None = None
    usable_cores: int | None = None
    alone: Alone = "node"
    foreign_check: str = ""
    """How other processes on the GPU were looked for; empty on a CPU."""
    gpu_sharing: str = ""
    """"MIG" or "MPS" where the device is a share of a GPU."""
    power_limit_watts: float | None = None
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
    policy = Policy(exclusive=True, measures_time=True)

    sampler: SamplerSpec
    clock: SamplerSpec
    tier: Tier
    batch: int
    n_images: int
    device_name: str
    alone: Annotated[Alone, DecidesNothingAs("node")] = "node"

    def is_exclusive(self) -> bool:
        return self.alone == "node"

    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.sampler.needs(), *self.clock.needs())))

    def ranks(self) -> int:
        return self.sampler.devices
