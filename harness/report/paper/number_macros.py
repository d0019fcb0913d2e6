r"""Figures as LaTeX macros, `\ocFidUnetOneSixDdimOneZero`: letters alone, digits spelt out.

The comment after each says what it is. Where two names become one, an X follows the later ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pandas import Series

from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.target_time import AT_SMALLEST, REACHED
from harness.report.formats import format_count, format_number, one_line
from harness.report.leaderboard import ClassTables

_PREFIX = "oc"
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_FIGURES = (
    ("Fid", "fid", 1.0, "FID"),
    ("FidLow", "fid_low", 1.0, "lower end of the 95 % interval of FID"),
    ("FidHigh", "fid_high", 1.0, "upper end of the 95 % interval of FID"),
    ("Nfe", "nfe", 1.0, "network evaluations per image"),
    ("Ms", "pooled_seconds_per_image", 1e3, "ms per image in a batch"),
    ("LatencyMs", "pooled_latency_seconds", 1e3, "ms of one image alone"),
    ("Speedup", "speedup", 1.0, "times faster than the clock trial"),
    ("SpeedupLow", "speedup_low", 1.0, "lower end of its 95 % interval"),
    ("SpeedupHigh", "speedup_high", 1.0, "upper end of its 95 % interval"),
    ("Gflops", "flops_per_image", 1e-9, "GFLOPs per image, 2 per multiply-add"),
)
"""Name, column, factor and meaning of the figures of a row."""
HEAD = r"""% Figures of oneclock as macros: \ocFidNAME is the FID of the row NAME, whose letters stand and whose
% digits are spelt out; each line's comment has the row's printed name. What was not measured has no macro.
"""


@dataclass(frozen=True)
class NumberMacro:
    """A macro's name without its backslash, the text that it stands for, and what that is."""

    name: str
    text: str
    meaning: str


def macro_letters(name: str) -> str:
    """Return a name in letters alone: each word begins with a capital, each digit is a word."""
    words = re.findall(r"[A-Za-z]+|\d", name)
    return "".join(_DIGITS[int(word)] if word.isdecimal() else word[0].upper() + word[1:] for word in words)


def number_macros(classes: Sequence[ClassTables]) -> str:
    """Return the file of macros of all ranked rows, and of each method's time to each target."""
    found = [macro for place, one in enumerate(classes, 1) for macro in _class_macros(one, place)]
    taken: set[str] = set()
    lines = []
    for macro in found:
        name = macro.name
        while name in taken:
            name += "X"
        taken.add(name)
        lines.append(rf"\newcommand{{\{name}}}{{{macro.text}}}% {one_line(macro.meaning)}" + "\n")
    return HEAD + "".join(lines)


def _class_macros(one: ClassTables, place: int) -> Iterator[NumberMacro]:
    """Yield the macros of a class; those of classes after the first name its place."""
    of = "" if place == 1 else f"Class{macro_letters(str(place))}"
    where = "" if place == 1 else f", {one.title}"
    yield NumberMacro(f"{_PREFIX}Images{of}", format_count(one.source["n_images"].iloc[0]), f"generated images{where}")
    yield NumberMacro(f"{_PREFIX}Rows{of}", str(len(one.source)), f"ranked rows{where}")

    names = distinct_names(one.source.reset_index(drop=True))
    for name, (_, row) in zip(names, one.source.iterrows(), strict=True):
        yield from _row_macros(row, name, of, where)
    yield from _time_macros(one, of, where)


def _row_macros(row: Series, name: str, of: str, where: str) -> Iterator[NumberMacro]:
    for figure, column, factor, meaning in _FIGURES:
        value = float(row[column]) if column in row and row[column] is not None else math.nan
        if not math.isnan(value):
            text = format_count(value) if column == "nfe" else format_number(value * factor)
            yield NumberMacro(f"{_PREFIX}{figure}{of}{macro_letters(name)}", text, f"{meaning}: {name}{where}")


def _time_macros(one: ClassTables, of: str, where: str) -> Iterator[NumberMacro]:
    for line in (*one.quality.serial, *one.quality.parallel):
        for target in one.quality.targets:
            found = one.quality.times[line.name, target]
            time, ratio = found.ranked.time, found.ranked.over_baseline
            at = f"To{macro_letters(format_count(target))}{of}{macro_letters(line.name)}"
            meaning = f"to FID {format_count(target)}: {line.name}{where}"
            if time.state in (REACHED, AT_SMALLEST):
                bound = ", at most" if time.state == AT_SMALLEST else ""
                yield NumberMacro(f"{_PREFIX}Ms{at}", format_number(time.seconds * 1e3), f"ms{bound} {meaning}")
            if not math.isnan(ratio.value):
                sign = {"": "", ">=": ", at least", "<=": ", at most"}[ratio.sign]
                meaning = f"times faster than the baseline{sign}, {meaning}"
                yield NumberMacro(f"{_PREFIX}Faster{at}", format_number(ratio.value), meaning)
