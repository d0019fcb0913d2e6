"""Prints what the two looks at the process take, before and after each unit of work.

    python tests/benchmarks/bench_looks.py [--smoke]

CPU seconds of this process, the median of several pairs. A pair may take at most 0.02 s; more is exit code 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from harness.integrity.guard import process_guard
from harness.registry import registry

LIMIT = 0.02
"""Seconds of a pair; about 0.005 on an idle core."""


def main() -> int:
    """Measure, print, and return 1 where the looks take too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    options = parser.parse_args()

    registry()
    guard, costs = process_guard(), []
    for _ in range(3 if options.smoke else 101):
        began = time.process_time()
        before = guard.adopt()
        if changes := guard.restore_since(before):
            sys.exit(f"found changes where nothing ran: {changes}")
        costs.append(time.process_time() - began)

    median = statistics.median(costs)
    print(f"two looks: {1000 * median:.2f} ms of CPU time (median of {len(costs)}), at most {1000 * LIMIT:.0f} ms")
    return 0 if options.smoke else int(median > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
