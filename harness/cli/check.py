"""The verb `check`: whether a method passes all that every run applies, a line per check and what to do."""

from __future__ import annotations

import json
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from harness.check.candidate import Candidate, find_candidate
from harness.check.method_check import MethodCheck
from harness.check.outcome import CheckOutcome, CheckState
from harness.cli.plan_lines import terminal_width, wrap_lines
from harness.measure import machine_load

_STATE_WIDTH, _NAME_WIDTH = 6, 32
_COLORS: dict[str | None, str] = {CheckState.passed: "green", CheckState.failed: "bold red", CheckState.absent: "dim"}
_ERASE_LINE = "\r\x1b[2K"
_USUAL_TIME = "about half a minute on two idle cores"


def check_method(name: str, settings: Sequence[str], network: str | None, steps: int, as_json: bool) -> bool:
    """Check a method and print the outcomes as they come; tell whether none failed.

    With `as_json` one JSON document is printed at the end instead. UsageError for a method, a network or parameters
    that do not exist.
    """
    began = time.monotonic()
    with shown_while("importing torch"):
        candidate = find_candidate(name, settings, network, steps)
        busy = machine_load.describe_busy_machine()
    if not as_json:
        _print(wrap_lines([_describe_start(candidate)], terminal_width()))
    for line in wrap_lines([f"note: {busy}"] if busy else [], terminal_width()):
        print(line, file=sys.stderr)

    # phase by phase, in a folder that is gone afterwards
    outcomes: list[CheckOutcome] = []
    with tempfile.TemporaryDirectory(prefix="oneclock-check-") as folder:
        for phase in MethodCheck(candidate, Path(folder)).phases():
            with nullcontext() if phase.shows_itself else shown_while(phase.words):
                found = list(phase.run())
            outcomes += found
            if not as_json:
                _print(line for outcome in found for line in outcome_lines(outcome, terminal_width()))

    seconds = time.monotonic() - began
    if as_json:
        typer.echo(json.dumps(describe_as_json(candidate, outcomes, seconds), indent=2, ensure_ascii=False))
    else:
        _print(wrap_lines([summary_line(outcomes, seconds)], terminal_width()))
    return not any(outcome.state is CheckState.failed for outcome in outcomes)


def outcome_lines(outcome: CheckOutcome, width: int | None) -> Iterator[str]:
    """Yield an outcome as printed: wrapped to a terminal's width, or on one line with tabs where that is None."""
    if width is None:
        cells = (f"{outcome.state:{_STATE_WIDTH}}", f"{outcome.name:{_NAME_WIDTH}}", outcome.found, outcome.expected)
        yield "\t".join((*cells, outcome.to_do)).rstrip()
        return

    # what was found, and of a failure what was expected and what to do
    failed = outcome.state is CheckState.failed
    text = f"{outcome.found}; expected {outcome.expected}" if failed and outcome.expected else outcome.found
    head = f"{outcome.state:{_STATE_WIDTH}}{outcome.name}"
    yield from _wrap(f"{head}  {text}" if len(head) > _NAME_WIDTH else f"{head:{_NAME_WIDTH}}{text}", width)
    if outcome.to_do:
        yield from _wrap(f"{'':{_STATE_WIDTH}}to do: {outcome.to_do}", width)


def summary_line(outcomes: Sequence[CheckOutcome], seconds: float) -> str:
    """Return how many checks passed, failed and did not apply, and how long they took."""
    counts = Counter(outcome.state for outcome in outcomes)
    words = [f"{counts[CheckState.passed]} passed"]
    words += [f"{counts[CheckState.failed]} FAILED"] if counts[CheckState.failed] else []
    words += [f"{counts[CheckState.absent]} not applicable"] if counts[CheckState.absent] else []
    return f"{', '.join(words)} in {seconds:.0f} s"


def describe_as_json(candidate: Candidate, outcomes: Sequence[CheckOutcome], seconds: float) -> dict[str, Any]:
    """Return what was checked, with what, and every outcome."""
    return {
        "method": candidate.method.name,
        "part": candidate.part,
        "params": candidate.method.params.model_dump(mode="json"),
        "with": {"network": candidate.network, "dataset": candidate.dataset, **candidate.companions},
        "steps": candidate.steps,
        "seconds": round(seconds, 1),
        "passed": not any(outcome.state is CheckState.failed for outcome in outcomes),
        # in the order in which they ran
        "checks": [
            {
                "name": outcome.name,
                "state": str(outcome.state).lower(),
                "found": outcome.found,
                "expected": outcome.expected,
                "to_do": outcome.to_do,
            }
            for outcome in outcomes
        ],
    }


def _describe_start(candidate: Candidate) -> str:
    others = ", ".join(f"{part} {name}" for part, name in candidate.companions.items())
    time_needed = f"{_prepared(candidate)} prepared first, which takes its time" if candidate.prepares else _USUAL_TIME
    return (
        f"{candidate.part} {candidate.method.name}, {candidate.steps} steps on {candidate.network} "
        f"({candidate.dataset}), with {others}: {time_needed}"
    )


def _prepared(candidate: Candidate) -> str:
    names = [f"{part} {method.name}" for part, method in candidate.parts.items() if method.prepares]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _wrap(text: str, width: int) -> list[str]:
    hanging = " " * _NAME_WIDTH if not text.startswith(" ") else " " * (_STATE_WIDTH + len("to do: "))
    return textwrap.wrap(text, width, subsequent_indent=hanging, break_on_hyphens=False, drop_whitespace=True)


@contextmanager
def shown_while(words: str) -> Iterator[None]:
    """Show on a terminal what is done in the block; nothing is drawn meanwhile, since timings run in this process."""
    is_terminal = sys.stderr.isatty()
    if is_terminal:
        print(f"{words} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if is_terminal:
            print(_ERASE_LINE, end="", file=sys.stderr, flush=True)


def _print(lines: Iterable[str]) -> None:
    """Print lines; on a terminal with colours, the state that begins one has its own."""
    if not sys.stdout.isatty():
        for line in lines:
            typer.echo(line)
        return

    console = Console(highlight=False)
    for line in lines:
        state = next((one for one in CheckState if line.startswith(f"{one} ")), None)
        text = Text(line)
        text.stylize(_COLORS.get(state, ""), 0, len(state or ""))
        console.print(text, soft_wrap=True)
