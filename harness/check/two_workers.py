"""The scored images made again: in this process, and on two workers, which are new processes.

Batches are dealt to the two, each in an order of its own. What a method keeps in its process from batch to batch, or
reads of it, then differs from the run on one worker.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from harness.check.finished_trial import FinishedTrial
from harness.check.other_process import send_digests
from harness.check.outcome import CheckOutcome, conclude, not_applicable
from harness.sampling.pixels import image_digests
from harness.specs.limits import CHECK_WORKER_SECONDS
from harness.specs.sampler import SamplerSpec

_MOST_BATCHES = 8


def check_scored_images(trial: FinishedTrial) -> CheckOutcome:
    """Compare images that are made now with those that the run scored."""
    indices = range(trial.sampler_spec.batch)
    scored = trial.digests(indices)
    with trial.built() as sampler:
        found = image_digests(sampler.images(indices))
    other = [index for index in indices if found[index].tobytes() != scored[index].tobytes()]
    text = f"{len(other)} of {len(indices)} differ, the first is image {other[0]}" if other else f"{len(indices)} equal"
    to_do = "find what the method keeps from batch to batch, or reads of its process"
    return conclude(not other, text, "all equal to the scored ones", to_do)


def check_two_workers(trial: FinishedTrial) -> CheckOutcome:
    """Compare the scored images with those that two processes make, every second batch each, one from the last on."""
    spec, n = trial.sampler_spec, trial.planned.trial.n_images
    if spec.devices > 1:
        return not_applicable(f"one sample needs {spec.devices} workers at once")
    firsts = list(range(0, n - spec.batch + 1, spec.batch))[:_MOST_BATCHES]
    made = _make_in_processes(spec, trial.inputs(), [firsts[::2], firsts[1::2][::-1]])

    scored = trial.digests(sorted(made))
    other = sorted(index for index, digest in made.items() if digest != scored[index].tobytes())
    text = f"{len(other)} of {len(made)} differ, the first is image {other[0]}" if other else f"{len(made):,} equal"
    return conclude(
        not other,
        f"{text}, on 1 and on 2 workers",
        "all equal",
        "keep nothing from batch to batch, and read nothing of the process: no globals, hash(), id(), time or random",
    )


def _make_in_processes(
    spec: SamplerSpec, inputs: Mapping[str, Any], dealt: Sequence[Sequence[int]]
) -> dict[int, bytes]:
    """Return the digests of images by index; each process makes the batches that begin at its numbers, in order."""
    context = multiprocessing.get_context("spawn")  # a new interpreter, which has the plug-ins of this one's path
    workers = []
    for firsts in dealt:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=send_digests, args=(there, spec, dict(inputs), list(firsts)), daemon=True)
        process.start()
        there.close()
        workers.append((process, here))

    made: dict[int, bytes] = {}
    try:
        for _, here in workers:
            made |= _receive(here)
    finally:
        for process, _ in workers:
            process.kill()
            process.join()
    return made


def _receive(here: Connection) -> dict[int, bytes]:
    if not here.poll(CHECK_WORKER_SECONDS):
        raise TimeoutError(f"a worker made no images in {CHECK_WORKER_SECONDS:g} s")
    try:
        found = here.recv()
    except EOFError:
        raise ChildProcessError("a worker died while it made images") from None
    if isinstance(found, str):
        raise ChildProcessError(f"a worker failed: {found}")
    return dict(found)
