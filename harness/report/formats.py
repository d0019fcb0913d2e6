"""Text and numbers as tables show them: numbers made short, text escaped for Markdown, CSV and LaTeX.

HTML is not here: its templates escape by themselves (jinja2, autoescape).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.schema import METRICS

DASH = "–"
_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {mark: f"\\{mark}" for mark in "\\`*_[]|~$"}
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}",
    "`": "{`}", "'": "{'}", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$", "±": r"$\pm$",
    "–": "--", "é": r"\'e", "²": "$^2$", "σ": r"$\sigma$",
    "↓": r"$\downarrow$", "↑": r"$\uparrow$",
} | {mark: f"\\{mark}" for mark in "{}$&#%_"}  # fmt: skip
_FORMULA = "=+-@\t\r"


@dataclass(frozen=True)
class Section:
    """A plain table: headings and rows of text, the first column left-aligned."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()
    """Sentences above the table: what its figures mean and how they were found."""


def axis_label(metric: str, what: str = "") -> str:
    """Return the label of an axis of a declared metric, and which side is better; `what` follows its name."""
    side = "lower" if METRICS[metric].lower_is_better else "higher"
    return f"{METRICS[metric].label}{what} ({side} is better)"


def one_line(text: str) -> str:
    """Return the text on one line without control characters."""
    return "".join(mark if unicodedata.category(mark)[0] != "C" else " " for mark in text).strip()


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows unchanged, also inside a table cell; it holds no HTML."""
    return "".join(_MARKDOWN.get(mark, mark) for mark in one_line(text))


def escape_latex(text: str) -> str:
    """Return text that LaTeX typesets unchanged in any cell.

    A character that pdflatex may lack becomes its base letter or "?".
    """
    return "".join(_LATEX.get(mark) or _ascii(mark) for mark in one_line(text)).replace(r"\textquotedbl{}", "''")


def escape_csv(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    An apostrophe goes before a leading = + - @, tab or carriage return.
    """
    line = one_line(text)
    return f"'{line}" if line[:1] in _FORMULA and line else line


def format_csv_value(value: object) -> str:
    """Return a value in full: the shortest text that reads back as the same float64, empty for NaN and None."""
    if isinstance(value, str):
        return escape_csv(value)
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | np.integer):
        return str(int(value))
    if not isinstance(value, float) or value != value:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))


def format_number(value: float, digits: int = 3) -> str:
    """Return the value with so many significant digits, without exponent between 1e-4 and 1e7; a dash for NaN."""
    if math.isnan(value):
        return DASH
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}")))))
    return f"{value:.{decimals}f}"


def format_count(value: float) -> str:
    """Return a count such as an NFE: whole where it is whole, else three significant digits."""
    return f"{value:.0f}" if float(value).is_integer() else format_number(value)


def format_interval(low: float, high: float, digits: int = 3) -> str:
    """Return "[low, high]" with a dash for an open end (NaN), or nothing where both are open."""
    if math.isnan(low) and math.isnan(high):
        return ""
    return f"[{', '.join(DASH if math.isnan(end) else format_number(end, digits) for end in (low, high))}]"


def _ascii(mark: str) -> str:
    if mark.isascii():
        return mark
    base = unicodedata.normalize("NFKD", mark).encode("ascii", "ignore").decode()
    return escape_latex(base) if base else "?"
