"""Prints what the engine adds to a training step: Trainer (DeepSpeed) beside a bare PyTorch loop, in one process.

    python tests/benchmarks/bench_trainer.py [unet-8 uvit-8 slim-8 cunet-8] [--dataset digits] [--rounds 24] [--steps 8]
        [--smoke]

Bare: images picked, forward, backward, AdamW (foreach), the learning rate set; with the average of the weights or
without. Engine: `Trainer.advance`, which keeps the average. All three start from the same weights, see the same images,
noise levels and noise, and must end in the same weights, bit by bit. One thread; they take turns in all orders, and a
ratio is that of CPU seconds within a round. Wanted: at most 1.10 beside the loop that keeps the average too.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from harness.config.network_card import NetworkCard, load_network_card
from harness.data.cards import DatasetCard, load_card
from harness.data.splits import load_split
from harness.sampling.network import build_network
from harness.sampling.numerics import fix_numerics
from harness.specs.train import TrainSettings
from harness.stats import ratio_interval
from harness.training.network_training import network_trainer
from harness.training.schedules import batch_seed, ema_decay, learning_rate
from methods.networks.base import Network

ENGINE, AVERAGED, PLAIN = "engine", "bare with average", "bare"
SMOKE = ["slim-8", "--rounds", "1", "--steps", "2"]


def main() -> None:
    """Measure each network and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["unet-8", "uvit-8", "slim-8", "cunet-8"])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--steps", type=int, default=8, help="steps of each in a round (default 8)")
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    options = parser.parse_args()
    options = parser.parse_args(SMOKE) if options.smoke else options
    fix_numerics(torch.device("cpu"), 1)
    data = load_card(options.dataset)
    images = torch.from_numpy(load_split(data, "train").images.copy())
    print(f"CPU seconds of a step, engine / bare; median of {options.rounds} rounds of {options.steps} steps each:")
    for name in options.networks:
        card = load_network_card(name)
        spec = card.train
        if spec is None:
            parser.error(f'network "{name}" is not trained')
        seconds = measure(card, data, images, spec, options.rounds, options.steps)
        print(f"  {name}, batch {spec.batch}", flush=True)
        for bare in (AVERAGED, PLAIN):
            middle, low, high = ratio_interval(seconds[ENGINE] / seconds[bare])
            print(f"    engine / {bare:<18}{middle:.3f} [{low:.3f}, {high:.3f}]")
        speeds = [f"{which} {options.steps * spec.batch / np.median(taken):.0f}" for which, taken in seconds.items()]
        print(f"    images per second: {', '.join(speeds)}", flush=True)


def measure(
    card: NetworkCard, data: DatasetCard, images: Tensor, spec: TrainSettings, rounds: int, steps: int
) -> dict[str, np.ndarray]:
    """Return the CPU seconds [rounds] of each loop; the first round warms up and is left out."""
    trained, averaged, plain = (fresh(card, data, spec) for _ in range(3))
    trainer = network_trainer(trained, images, spec)
    try:
        loops: dict[str, Callable[[int], object]] = {
            ENGINE: trainer.advance,
            AVERAGED: stepping(bare_steps(averaged, images, spec, average=True)),
            PLAIN: stepping(bare_steps(plain, images, spec, average=False)),
        }
        seconds: dict[str, list[float]] = {which: [] for which in loops}
        orders = itertools.cycle(itertools.permutations(loops))
        for number, order in zip(range(rounds + 1), orders, strict=False):
            for which in order:
                began = time.process_time()
                loops[which](steps)
                if number:
                    seconds[which].append(time.process_time() - began)
    finally:
        trainer.close()
    for bare in (averaged, plain):
        check_alike(trained, bare, card.name)
    return {which: np.array(taken) for which, taken in seconds.items()}


def fresh(card: NetworkCard, data: DatasetCard, spec: TrainSettings) -> Network:
    """Return the network as the engine's train task makes it."""
    torch.manual_seed(spec.seed)
    return build_network(card, data.shape()).train()


def bare_steps(network: Any, images: Tensor, spec: TrainSettings, average: bool) -> Iterator[Tensor]:
    """Take steps as anybody writes them; yield each one's loss."""
    weights = list(network.parameters())
    optimizer = torch.optim.AdamW(weights, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, foreach=True)
    averages = [weight.detach().clone() for weight in weights]
    generator = torch.Generator()

    for step in itertools.count():
        generator.manual_seed(batch_seed(spec, step))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(spec, step)

        # What the engine draws, in its order.
        picked = images[torch.randint(len(images), (spec.batch,), generator=generator)]
        batch = picked.float() / 127.5 - 1
        torch.manual_seed(batch_seed(spec, step) * 997)  # dropout
        loss = network.loss_of(batch, network.draws(tuple(batch.shape), generator))

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if average:
            get_ema_multi_avg_fn(ema_decay(spec, step))(averages, weights, None)
        yield loss.detach()


def stepping(steps: Iterator[Tensor]) -> Callable[[int], object]:
    """Return a function that takes so many steps and reads their mean loss, as the engine does."""
    return lambda count: float(torch.stack(list(itertools.islice(steps, count))).mean())


def check_alike(one: Network, other: Network, name: str) -> None:
    """Refuse to compare loops that did different work."""
    for (key, found), expected in zip(one.named_parameters(), other.parameters(), strict=True):
        if not torch.equal(found, expected):
            raise SystemExit(f"{name}: the engine's {key} differs from the bare loop's, so they did not do the same")


if __name__ == "__main__":
    main()
