"""A row in words claims what its own intervals allow, in columns that stay aligned at any width."""

from __future__ import annotations

from typing import Any

import pytest
from kit.screen_kit import ROW

from harness.screen.live_view import row_line
from harness.screen.row_words import crop_middle, describe_row, legend


@pytest.mark.parametrize(
    ("changes", "speed", "finding"),
    [
        ({}, "1.02x tie", "FID better"),
        ({"speedup_low": 1.01}, "1.02x", "FID better"),
        ({"speedup_low": 1.0}, "1.02x tie", "FID better"),
        ({"speedup_high": None}, "1.02x", "FID better"),
        ({"speedup": None}, "", "FID better"),
        ({"fid_difference_low": 0.5, "fid_difference_high": 2.0}, "1.02x tie", "FID worse"),
        ({"fid_difference_high": 0.0}, "1.02x tie", "no difference shown"),
        ({"fid_difference_low": None, "fid_difference_high": None}, "1.02x tie", ""),
        ({"is_baseline": True}, "1.02x tie", "baseline"),
    ],
)
def test_words_claim_what_intervals_allow(changes: dict[str, Any], speed: str, finding: str) -> None:
    words = describe_row("unet-8:dpmpp-2m-5", {**ROW, **changes})
    assert (words.fid, words.latency, words.speed, words.finding) == ("FID 20 ± 1.9", "12.3 ms", speed, finding)


def test_the_legend_tells_the_time_of_one_image_from_the_speed_in_a_batch() -> None:
    assert "time of one image alone" in legend()
    assert "speed in a batch against the clock's (tie" in legend()
    assert "against the clock's, unet-8:ddim-10 (tie" in legend(["unet-8:ddim-10"])


def test_a_row_without_an_interval_has_none_in_words() -> None:
    assert describe_row("a", {**ROW, "fid_low": None, "fid_high": None}).fid == "FID 20"
    assert describe_row("a", {**ROW, "fid": None}).fid == ""
    assert describe_row("a", {**ROW, "latency_seconds": None}).latency == ""


def test_a_row_that_is_not_valid_says_why_and_nothing_else() -> None:
    words = describe_row("unet-8:ddim-5", {**ROW, "verdict": "INVALID", "reasons": "no-fid: too few"})
    assert words.text(20) == "unet-8:ddim-5         INVALID: no-fid: too few"


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_lines_of_rows_are_aligned_and_fit_any_width(width: int) -> None:
    names = ("unet-8:ddim-5", "uvit-8:early-exit(reverse=True,schedule=steep)/dpmpp-2m@few-step-10")
    rows = (ROW, {**ROW, "fid": 0.123456, "fid_low": 0.1, "fid_high": 0.15, "latency_seconds": 12.5})
    lines = [
        row_line(number, describe_row(name, row), width, max(map(len, names)), "left 1:02:10").plain
        for number, name, row in zip((" [3/21]", "[14/21]"), names, rows, strict=True)
    ]
    assert all(len(line) <= width for line in lines)
    assert len({line.index("FID") for line in lines}) == 1
    if width >= 80:
        assert len({line.index("1.02x tie") for line in lines}) == 1
        assert len({line.index("better") for line in lines}) == 1
        assert all(("left 1:02:10" in line) == (width == 160) for line in lines)


def test_in_80_columns_every_word_of_a_row_fits() -> None:
    for changes, finding in (
        ({}, "better"),
        ({"fid_difference_high": 1.0}, "not shown"),
        ({"is_baseline": True}, "base"),
    ):
        words = describe_row("unet-8:dpmpp-2m-5", {**ROW, "fid": 0.123, "fid_low": 0.1, "fid_high": 0.15, **changes})
        line = row_line("[14/21]", words, 80, 60, "left 2:10").plain
        assert "…" not in line
        assert finding in line


def test_a_long_reason_is_cut_at_the_width() -> None:
    words = describe_row("a", {**ROW, "verdict": "INVALID", "reasons": "x" * 500})
    line = row_line("[1/2]", words, 80, 16, "left 0:10").plain
    assert len(line) == 80
    assert line.endswith("x…")


@pytest.mark.parametrize(("most", "expected"), [(10, "0123456789"), (7, "012…789"), (4, "01…9"), (1, "…")])
def test_names_lose_their_middle(most: int, expected: str) -> None:
    assert crop_middle("0123456789", most) == expected
