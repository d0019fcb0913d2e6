"""A committed row in a few words: FID, time, speed against the clock, and FID against the baseline's.

The words say what the row's own intervals allow, each at 95 % by itself; the report corrects for their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BETTER, WORSE, NO_DIFFERENCE, BASELINE = "FID better", "FID worse", "no difference shown", "baseline"
_NARROW = {BETTER: "better", WORSE: "worse", NO_DIFFERENCE: "not shown"}
_FID_WIDTH, _TIME_WIDTH, _SPEED_WIDTH = 18, 9, 9


def legend(clocks: Sequence[str] = ()) -> str:
    """Return what the cells of a row are; `clocks` are the names of the trials that all speeds are against."""
    clock = f"the clock's, {' or '.join(clocks)}" if clocks else "the clock's"
    return (
        f"rows: FID with its 95 % interval, time of one image alone, speed in a batch against {clock} (tie: the "
        "interval holds 1), FID beside that of the baseline at as many evaluations; clock and baseline are measured "
        "with each row, also where their own rows are not wanted"
    )


@dataclass(frozen=True)
class RowWords:
    """The cells of a row's line; empty where nothing was measured."""

    name: str
    fid: str
    latency: str
    speed: str
    finding: str
    """How its FID compares with the baseline's, or why the row is not VALID."""
    is_valid: bool = True

    def text(self, name_width: int, most: int | None = None, narrow: bool = False) -> str:
        """Return the cells in columns, the name in `name_width`; of at most so many characters."""
        name = f"{crop_middle(self.name, name_width):{name_width}}"
        gap = " " if narrow else "  "
        if not self.is_valid:
            return _crop_end(f"{name}{gap}{self.finding}", most)
        finding = _NARROW.get(self.finding, self.finding) if narrow else self.finding
        cells = (f"{self.fid:{_FID_WIDTH}}{self.latency:>{_TIME_WIDTH}}", f"{self.speed:{_SPEED_WIDTH}}", finding)
        return _crop_end(gap.join((name, *cells)), most).rstrip()


def cells_width(narrow: bool) -> int:
    """Return how many characters a valid row takes besides its name."""
    finding = max(map(len, _NARROW.values())) if narrow else len(NO_DIFFERENCE)
    return _FID_WIDTH + _TIME_WIDTH + _SPEED_WIDTH + finding + 3 * (1 if narrow else 2)


def describe_row(name: str, row: Mapping[str, Any]) -> RowWords:
    """Return the words of a committed row of the table `trials`; `name` is the trial's."""
    if row["verdict"] != "VALID":
        return RowWords(name, "", "", "", f"{row['verdict']}: {row['reasons']}", is_valid=False)
    latency = row.get("latency_seconds")
    return RowWords(
        name=name,
        fid=_fid_text(row),
        latency="" if latency is None else _duration(latency),
        speed=_speed_text(row),
        finding=_finding(row),
    )


def crop_middle(text: str, most: int) -> str:
    """Return a text of at most so many characters: a longer one loses its middle, since names differ at their ends."""
    if len(text) <= most:
        return text
    tail = max((most - 1) // 2, 0)
    return text[: max(most - 1 - tail, 0)] + "…" + (text[-tail:] if tail else "")


def _crop_end(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else text[: max(most - 1, 0)] + "…"


def _fid_text(row: Mapping[str, Any]) -> str:
    if row.get("fid") is None:
        return ""
    low, high = row.get("fid_low"), row.get("fid_high")
    return f"FID {row['fid']:.3g}" + ("" if low is None or high is None else f" ± {(high - low) / 2:.2g}")


def _speed_text(row: Mapping[str, Any]) -> str:
    speed, low, high = (row.get(f"speedup{end}") for end in ("", "_low", "_high"))
    if speed is None:
        return ""
    is_tie = low is not None and high is not None and low <= 1 <= high
    return f"{speed:.2f}x" + (" tie" if is_tie else "")


def _finding(row: Mapping[str, Any]) -> str:
    """Return how the row's FID compares with that of the baseline at as many evaluations, "" where there is none."""
    if row.get("is_baseline"):
        return BASELINE
    low, high = row.get("fid_difference_low"), row.get("fid_difference_high")
    if low is None or high is None:
        return ""
    return BETTER if high < 0 else WORSE if low > 0 else NO_DIFFERENCE


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
