"""Text made safe and numbers made short for each place a table may be printed in: Markdown, CSV, LaTeX.

HTML is not here: its templates escape by themselves (jinja2, autoescape).
"""

from __future__ import annotations

import math
import unicodedata

DASH = "–"
_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {mark: f"\\{mark}" for mark in "\\`*_[]|~$"}
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}",
    "`": "{`}", "'": "{'}", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$", "±": r"$\pm$",
    "–": "--", "é": r"\'e", "²": "$^2$", "σ": r"$\sigma$",
} | {mark: f"\\{mark}" for mark in "{}$&#%_"}  # fmt: skip
_FORMULA = "=+-@\t\r"


def one_line(text: str) -> str:
    """Return the text on one line without control characters."""
    return "".join(mark if unicodedata.category(mark)[0] != "C" else " " for mark in text).strip()


def markdown(text: str) -> str:
    """Return text that Markdown shows as it is, also inside a table cell, and that holds no HTML."""
    return "".join(_MARKDOWN.get(mark, mark) for mark in one_line(text))


def latex(text: str) -> str:
    """Return text that LaTeX typesets as it is in any cell; what pdflatex may lack becomes its base letter or "?"."""
    return "".join(_LATEX.get(mark) or _ascii(mark) for mark in one_line(text)).replace(r"\textquotedbl{}", "''")


def csv_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: an apostrophe goes before a leading = + - @ or tab."""
    line = one_line(text)
    return f"'{line}" if line[:1] in _FORMULA and line else line


def number(value: float, digits: int = 3) -> str:
    """Return the value with that many significant digits, without exponent between 1e-4 and 1e7."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}")))))
    return f"{value:.{decimals}f}"


def count(value: float) -> str:
    """Return a count such as an NFE: whole where it is whole, else three significant digits."""
    return f"{value:.0f}" if float(value).is_integer() else number(value)


def interval(low: float, high: float, digits: int = 3) -> str:
    """Return "[low, high]" with a dash for an open end, or nothing where both are open."""
    if math.isnan(low) and math.isnan(high):
        return ""
    return f"[{', '.join(DASH if math.isnan(end) else number(end, digits) for end in (low, high))}]"


def _ascii(mark: str) -> str:
    if mark.isascii():
        return mark
    base = unicodedata.normalize("NFKD", mark).encode("ascii", "ignore").decode()
    return latex(base) if base else "?"
