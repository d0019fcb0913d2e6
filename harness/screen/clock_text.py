"""Durations and times of day in words."""

from __future__ import annotations

from datetime import datetime, timedelta


def format_span(seconds: float) -> str:
    """Return seconds as m:ss, or as h:mm:ss from an hour on."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def format_time_of_day(when: datetime, now: datetime) -> str:
    """Return a time as 14:05; with its weekday if it is of another day, with its date from a week on."""
    if when.date() == now.date():
        return f"{when:%H:%M}"
    return f"{when:%a %H:%M}" if when - now < timedelta(days=6) else f"{when:%d %b %H:%M}"


def format_end(now: datetime, seconds: float, low: float, high: float) -> str:
    """Return when something ends that takes so many seconds from now, with the range, as "14:05 (14:03 to 14:09)"."""
    middle, first, last = (format_time_of_day(now + timedelta(seconds=one), now) for one in (seconds, low, high))
    return middle if first == last else f"{middle} ({first} to {last})"
