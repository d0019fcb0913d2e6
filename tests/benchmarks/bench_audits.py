"""Prints what audits take: their seconds as a share of the core seconds of a run, by kind of task.

    python tests/benchmarks/bench_audits.py [RESULTS] [--suite quick] [--smoke]

RESULTS is the folder of a finished run, such as results/quick. Without it the suite runs here, in this process, in a
folder that is deleted afterwards. Audits may take at most 3 % of the seconds of all tasks; more is exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
from harness.storage.blobs import BLOB_SUFFIX
from harness.storage.journal import LINES, decode_line, read_lines
from harness.storage.kept_results import read_blob_facts

LIMIT = 0.03
"""Of the core seconds of `quick`."""
SMOKE = """
name = "smoke"
title = "A sampler of one network"
dataset = "digits"
network = "unet-8"
extractor = "digits-cnn"
n_images = 100
baseline = { solver = "ddim", schedule = "edm", clock_steps = 5 }
networks.unet-8.weights = "zoo:unet-8"
timing.tier = "smoke"

[[trials]]
steps = 5
"""
KINDS = {"repetitions": "time", "cost": "sample", "images_sha256": "score"}
"""Kinds of task by a field that only their outputs have."""


def outputs(results: Path) -> Iterator[dict[str, Any]]:
    """Yield the outputs of all units of a run, those shared by runs of the same folder included."""
    for _, line in read_lines(results / "tasks" / LINES):
        if (decoded := decode_line(line)) is not None and "unit" in decoded[0]:
            yield json.loads(decoded[1])
    for path in (results.parent / "zoo").glob(f"*{BLOB_SUFFIX}"):
        if (found := read_blob_facts(path.parent, path.name.removesuffix(BLOB_SUFFIX))) is not None:
            yield found


def print_shares(results: Path) -> int:
    """Print seconds of tasks and of their audits; return 1 if these take more than the limit of all."""
    whole: dict[str, float] = defaultdict(float)
    audits: dict[str, float] = defaultdict(float)
    for output in outputs(results):
        kind = next((kind for field, kind in KINDS.items() if field in output), "other")
        whole[kind] += output.get("task_seconds", 0.0)
        audits[kind] += output.get("audit_seconds", 0.0)
    if not whole:
        sys.exit(f"{results} holds no finished task; expected the folder of a run, such as results/quick")

    print(f"{'tasks':<10}{'core seconds':>14}{'of audits':>12}{'share':>9}")
    for kind in sorted(whole, key=lambda one: -whole[one]):
        print(f"{kind:<10}{whole[kind]:>14.2f}{audits[kind]:>12.3f}{audits[kind] / max(whole[kind], 1e-9):>9.2%}")
    share = sum(audits.values()) / sum(whole.values())
    print(f"{'all':<10}{sum(whole.values()):>14.2f}{sum(audits.values()):>12.3f}{share:>9.2%}, at most {LIMIT:.0%}")
    return int(share > LIMIT)


def main() -> int:
    """Run or read, print, and return 1 where audits take too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, help="folder of a finished run (default: run the suite)")
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    options = parser.parse_args()

    if options.results is not None:
        return print_shares(options.results)
    with tempfile.TemporaryDirectory() as folder:
        suite = options.suite
        if options.smoke:
            suite = str(Path(folder) / "smoke.toml")
            Path(suite).write_text(SMOKE, encoding="utf-8")
        harness.run(suite, results=folder, in_process=True, report=False)
        share = print_shares(next(path for path in Path(folder).iterdir() if path.is_dir()))
    return 0 if options.smoke else share


if __name__ == "__main__":
    sys.exit(main())
