"""Prints what more steps do to the networks of the zoo: FID by solver and steps, and the copy rate of the images.

    python tests/benchmarks/bench_zoo.py [NAME ...] [--steps 5 10 20 40] [--solvers ddim ...] [--sigma-max 80] [--smoke]

On a network that is trained out, more accurate sampling is not worse. Each FID stands beside its difference to the one
of the step count before, paired by image (95 %, delete-a-group jackknife); "worse" where that interval lies above 0.
Noise, number of images, feature network and reference are those of the network's own limit on its card.
"""

from __future__ import annotations

import argparse

import torch

from harness.config.zoo_card import load_zoo_card, zoo_names
from harness.data.cards import load_card
from harness.errors import DataAbsentError
from harness.planning.zoo_networks import read_weights
from harness.sampling.network import build_network
from harness.stats import paired_difference
from harness.zoo.judge import LIMIT_IMAGES, Judge, Limit

SOLVERS = ("ddim", "dpmpp-2m", "unipc", "heun")
SMOKE = ["slim-8", "--steps", "1", "2", "--solvers", "ddim"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks of the zoo; by default all whose data are here")
    parser.add_argument("--steps", nargs="+", type=int, default=[5, 10, 20, 40])
    parser.add_argument("--solvers", nargs="+", default=SOLVERS)
    parser.add_argument("--sigma-max", type=float, help="highest noise level; by default the data card's")
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    options = parser.parse_args()
    options = parser.parse_args(SMOKE) if options.smoke else options
    torch.set_num_threads(1)
    judges: dict[str, Judge] = {}
    for name in options.names or zoo_names():
        card = load_zoo_card(name)
        data = load_card(card.data.name)
        if options.sigma_max:
            data = data.model_copy(update={"sigma_max": options.sigma_max})
        try:
            if data.name not in judges:
                flips = bool(card.network.train and card.network.train.flips)
                judges[data.name] = Judge(data, card.data.split, flips)
        except DataAbsentError as error:
            if options.names:
                raise
            print(f"{name}: left out, since its data are absent: {str(error).partition(';')[0]}", flush=True)
            continue

        judge = judges[data.name]
        network = build_network(card.network, data.shape())
        network.load_state_dict(read_weights(name))
        network.eval().requires_grad_(False)
        judged = card.judged
        print(
            f"{name}: limit {judged.limit_fid:.2f} [{judged.limit_fid_low:.2f}, {judged.limit_fid_high:.2f}], floor "
            f"{judged.limit_floor:.2f}, copies {100 * judged.copy_rate:.1f} % (chance allows "
            f"{100 * judge.copies.highest_rate(LIMIT_IMAGES):.1f} %)",
            flush=True,
        )
        for solver in options.solvers:
            before: Limit | None = None
            cells = []
            for steps in options.steps:
                found = judge.measure_samples(network, solver, steps)
                cells.append(cell(steps, found, before))
                before = found
            print(f"  {solver:9} {'  '.join(cells)}", flush=True)


def cell(steps: int, found: Limit, before: Limit | None) -> str:
    """Return steps, FID, and how it differs from that of fewer steps."""
    fid = found.quality.figures.get("fid", float("nan"))
    text = f"{steps}: {fid:6.2f} copies {100 * found.copy_rate:3.1f} %"
    if before is None:
        return text
    mine, theirs = ([r.get("fid", float("nan")) for r in one.quality.replicates] for one in (found, before))
    apart = paired_difference(fid, mine, before.quality.figures.get("fid", float("nan")), theirs)
    worse = " WORSE" if apart.low > 0 else ""
    return f"{text} ({apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}]{worse})"


if __name__ == "__main__":
    main()
