"""Durations in words, from seconds to years."""

from __future__ import annotations


def describe_seconds(seconds: float) -> str:
    """Return a duration in words, of two digits or so: "40 s", "6 min", "3.5 h", "12 days", "4 years"."""
    number, unit = _in_unit(seconds, seconds)
    return f"{number} {unit}"


def describe_range(low: float, high: float, seconds: float) -> str:
    """Return a range in the unit of `seconds`, without the unit; an end that needs another unit has it."""
    (first, low_unit), (last, high_unit), unit = _in_unit(low, low), _in_unit(high, high), _in_unit(seconds, seconds)[1]
    if low_unit == high_unit:
        return f"{first} to {last}" if low_unit == unit else f"{first} to {last} {low_unit}"
    return f"{first} {low_unit} to {last} {high_unit}"


def _in_unit(seconds: float, like: float) -> tuple[str, str]:
    """Return a number and the unit that suits `like` seconds."""
    sizes = ((99.5, 1.0, "s"), (5_970.0, 60.0, "min"), (172_800.0, 3_600.0, "h"), (63_072_000.0, 86_400.0, "days"))
    size, unit = next(((size, unit) for most, size, unit in sizes if like < most), (31_536_000.0, "years"))
    number = seconds / size
    return f"{number:,.1f}" if number < 9.95 and unit in ("h", "days", "years") else f"{number:,.0f}", unit
