"""`python -m harness.cli.job_pieces JOB [3-17,20]`: a small job that prints an earlier job's results again."""

from __future__ import annotations

import itertools
import re
import sys

from harness.cli.outbox import read_archive
from harness.cli.transfer import PIECE, PRINTED_AT_ONCE, head_line, piece_lines

_RANGES = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")


def main(words: list[str]) -> int:
    """Print the announcement of a job's archive, after these pieces of it; 1 where this machine has none of the job."""
    data = read_archive(words[0])
    if data is None:
        print(f"oneclock: there are no results of job {words[0]} here", file=sys.stderr)
        return 1
    numbers = read_ranges(words[1]) if len(words) > 1 else iter(())
    for line in piece_lines(data, itertools.islice(numbers, PRINTED_AT_ONCE // PIECE)):
        print(line)
    print(head_line(data), flush=True)
    return 0


def write_ranges(numbers: list[int]) -> str:
    """Return sorted numbers as ranges: [1, 2, 3, 7] as 1-3,7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read_ranges(text: str) -> itertools.chain[int]:
    """Return the numbers of ranges that `write_ranges` wrote; none for other text."""
    parts = text.split(",") if _RANGES.fullmatch(text) else []
    bounds = [(int(part.split("-")[0]), int(part.split("-")[-1])) for part in parts]
    return itertools.chain.from_iterable(range(first, last + 1) for first, last in bounds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
