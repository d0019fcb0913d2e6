"""All cheats, and the suites that they run in. Each is caught by the rules that its class names, see docs/audits.md."""

from __future__ import annotations

from pathlib import Path

from kit import cheats_counter as counter
from kit import cheats_images as images
from kit import cheats_memory as memory
from kit import cheats_process as process
from kit import cheats_timed as timed
from kit.cheats_tools import BATCH, IMAGES, Cheat
from methods.parts import Method

BY_KIND: dict[str, tuple[type[Cheat], ...]] = {
    "counter": (
        counter.NoCall, counter.HiddenSteps, counter.Copied, counter.Submodule, counter.OtherThread,
        counter.OtherProcess, counter.LiftsCounter, counter.InNumpy, counter.CheapUnit, counter.Skipped,
        counter.NoUnits, counter.FindsNetwork,
    ),
    "memory": (
        memory.HashLookup, memory.NearestLookup, memory.SmoothLookup, memory.IndexLookup, memory.CachedStates,
        memory.KnownFinals, memory.CachedOutputs, memory.WatchedCache,
    ),
    "timed": (
        timed.LazyAlone, timed.LazyByStack, timed.LazyByCount, timed.LazyByClock, timed.EndsOfBatch,
        timed.ForgetsOneRow, timed.StaleAlone, timed.KnownAlone,
    ),
    "images": (
        images.SharpenedCopies, images.MixedCopies, images.BlendedCopies, images.ChosenSubset, images.BatchMean,
        images.ByPosition, images.RunningMean, images.StaysAtNoise, images.LeavesFlow, images.LowPrecision,
        images.Autocast,
    ),
    "process": (
        process.ReplacesDigests, process.StopsCounting, process.SlowsTime, process.LeavesThread, process.OtherBackend,
        process.PrunesInPlace, process.ShiftsGlobalNoise, timed.SlowsBaseline,
    ),
}  # fmt: skip
"""Cheats by their kind; those of a kind run in one suite."""
OF_TRAININGS: tuple[type[Cheat], ...] = (process.ClaimsFixedWork,)
"""Cheats that need several trainings of a network."""
CHEATS = (*(cheat for kind in BY_KIND.values() for cheat in kind), *OF_TRAININGS)
HONEST = ("ddim", "dpmpp-2m")
"""Methods of the honest rows of these suites."""

SUITE = """
name = "cheats"
title = "Cheats between honest rows"
dataset = "digits"
network = "unet-8"
extractor = "digits-cnn"
n_images = {images}
batch = {batch}
trainings = {trainings}
baseline = {{ solver = "ddim", schedule = "edm", clock_steps = 4 }}
networks.unet-8.weights = "zoo:unet-8"
timing.tier = "smoke"
truncation = {{ images = 50, steps = 16 }}

[[trials]]
steps = 4
"""
HONEST_END = """
[[trials]]
solver = "dpmpp-2m"
steps = 6
"""


def suite_of(folder: Path, cheats: tuple[type[Cheat], ...], trainings: int = 1) -> str:
    """Write a suite of these cheats between two honest trials; return its path."""
    path = folder / "cheats.toml"
    head = SUITE.format(images=IMAGES, batch=BATCH, trainings=trainings)
    path.write_text(head + "".join(map(_trial, cheats)) + HONEST_END)
    return str(path)


def document_rows() -> list[str]:
    """Return the rows of the table of cheats in docs/audits.md."""
    return [
        f"| `{cheat.name}` | {' '.join((cheat.__doc__ or '').split())} | "  # type: ignore[attr-defined]
        f"{', '.join(f'`{rule}`' for rule in cheat.rules)} | INVALID |"
        for cheat in CHEATS
    ]


def _trial(cheat: type[Cheat]) -> str:
    assert issubclass(cheat, Method)
    return f'\n[[trials]]\n{cheat.part} = "{cheat.name}"\nsteps = {cheat.steps}\n'
