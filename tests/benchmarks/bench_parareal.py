"""Prints what two devices buy Parareal: serial and pipelined latency, measured in turns, beside the replayed one.

    python tests/benchmarks/bench_parareal.py [--steps 64 100] [--channels 16 32 32 32] [--rounds 7] [--form pipelined]
        [--smoke]

One refinement of one image on two processes of one thread each, over gloo: blocks of round(sqrt(N)) steps, DDIM, an
untrained U-Net for 32x32 pictures, whose evaluation should take at least 20 hops. Virtual latency: the dependency graph
replayed with the call that was measured while both processes compute, and the hop. Formula: section 7 of the
specification with the call measured alone, fill of S evaluations. Ceiling: N over the replay's ticks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
from statistics import median
from typing import Any

import torch

from harness.config.network_card import load_network_card
from harness.measure.call_times import CallTimer, replay_virtual_times
from harness.measure.device import timed_call
from harness.sampling.network import build_network
from harness.sampling.noise import ImageNoise
from harness.sampling.numerics import fix_numerics
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler
from harness.task import Ranks
from methods.denoisers.full import Full
from methods.executors.serial import Serial
from methods.executors.srds import SRDS
from methods.executors.srds_blocks import plan_blocks
from methods.networks.base import DataShape
from methods.parts import Executor, Peers
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

CPU = torch.device("cpu")
IMAGES = 0
WAIT_SECONDS = 600.0
SMOKE = ["--steps", "9", "--channels", "8", "8", "--rounds", "1"]


def main() -> None:
    """Measure on two processes and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[64, 100])
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32, 32, 32])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--form", default="pipelined")
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    options = parser.parse_args()
    options = parser.parse_args(SMOKE) if options.smoke else options
    for steps in options.steps:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        told = (1, port, steps, options)
        other = multiprocessing.get_context("spawn").Process(target=take_part, args=told, daemon=True)
        other.start()
        take_part(0, port, steps, options)
        other.join()
        if other.exitcode:
            raise SystemExit(f"the other process ended with {other.exitcode}")


def take_part(rank: int, port: int, steps: int, options: Any) -> None:
    """Be one of the two ranks; the first one measures and prints."""
    fix_numerics(CPU, 1)
    group = Group(Ranks(rank, size=2, port=port, deadline_seconds=WAIT_SECONDS), CPU)
    network = small_unet(options.channels)
    trial = sampler(network, steps, SRDS(form=options.form, devices=2, most=1), group.peers)
    serial = sampler(network, steps, Serial())
    calls = CallTimer(trial, group)
    if not group.is_rank_zero:
        for word, indices in group.commands():
            if word == IMAGES:
                trial.images(indices)
            else:
                calls.run_command(word, indices)
    else:
        with torch.inference_mode():
            report(steps, group, trial, serial, calls, options.rounds)
        group.broadcast_stop()
    group.close()


def report(steps: int, group: Group, trial: Sampler, serial: Sampler, calls: CallTimer, rounds: int) -> None:
    """Time the trial and its serial twin in turns, replay, and print."""

    def one(sampler: Sampler, image: int) -> float:
        if sampler is trial:
            group.broadcast_command(IMAGES, image, 1)
        return timed_call(lambda: sampler.images([image]), CPU)[1].seconds

    seconds: dict[int, list[float]] = {id(trial): [], id(serial): []}
    for number in range(rounds + 1):
        for which in (trial, serial) if number % 2 else (serial, trial):
            taken = one(which, number)
            if number:  # the first round warms up
                seconds[id(which)].append(taken)
        calls.loop(contended=True)
    measured, plain = median(seconds[id(trial)]), median(seconds[id(serial)])
    speedup = median(b / a for a, b in zip(seconds[id(trial)], seconds[id(serial)], strict=True))
    rows = replay_virtual_times(trial, calls, [1], plain, measured)
    row = next(row for row in rows if row.is_real)
    call, hop, virtual = row.call_seconds, row.hop_seconds, row.virtual_latency_seconds
    grid = plan_blocks(steps)
    longest = len(grid.steps(1))
    formula = max((longest + grid.blocks) * call + (grid.blocks - 1) * hop, (grid.total_cost(1) / 2 + longest) * call)
    ceiling = steps / trial.executor.replayed(trial.solver, trial.sigmas, 1, 2, lambda steps: 1.0, 0.0)
    print(f"N = {steps}, one refinement, {trial.executor.params.form} on 2 processes, {rounds} rounds:")
    ms = {"alone": 1e3 * call, "crowded": 1e3 * row.crowded_call_seconds, "hop": 1e3 * hop}
    words = ", ".join(f"{name} {value:.3f} ms" for name, value in ms.items())
    print(f"  calls and hop: {words}; a call is {call / hop:.0f} hops")
    print(f"  serial {plain:.3f} s; on two {measured:.3f} s, virtual {virtual:.3f} s, formula {formula:.3f} s")
    print(f"  virtual / measured latency {virtual / measured:.3f}")
    print(f"  measured speed-up {speedup:.3f}")
    for model, modelled in (("virtual", plain / virtual), ("formula", plain / formula), ("ceiling", ceiling)):
        print(f"    {model} {modelled:.3f}: measured / {model} {speedup / modelled:.3f}")


def small_unet(channels: list[int]) -> Any:
    """Return an untrained U-Net, the same on every rank; what it answers does not matter here."""
    torch.manual_seed(0)
    params = {"channels": channels, "head_channels": channels[1], "norm_groups": 8}
    card = load_network_card("unet-32", {"params": params})
    return build_network(card, DataShape(3, 32)).eval().requires_grad_(False)


def sampler(network: Any, steps: int, executor: Executor, peers: Peers | None = None) -> Sampler:
    """Return a sampler of 32x32 pictures."""
    noise = ImageNoise("bench", 0, (3, 32, 32))
    levels = EDM().levels(steps, 0.002, 80.0)
    return Sampler(Full().build(network), levels, DDIM(), executor, noise, CPU, peers=peers)


if __name__ == "__main__":
    main()
