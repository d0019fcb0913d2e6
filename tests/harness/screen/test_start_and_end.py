"""The paragraph at the start and the sentences at the end, from plans and rows that are made up."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kit import plan_kit

from harness.api import Tables
from harness.planning.cost.wall_time import WallTime
from harness.screen import opening
from harness.screen.clock_text import format_end, format_span
from harness.screen.ending import exit_code_sentences, result_lines, show_end, wrong_sentences
from harness.screen.opening import describe_devices, opening_sentences

NOW = datetime(2026, 11, 27, 22, 31)  # a Friday
ROW: dict[str, Any] = {
    "trial_id": "a", "network": "unet-8", "method": "ddim", "steps": 5, "verdict": "VALID", "reasons": "",
    "status": "finished", "disturbed": "", "returned": None,
}  # fmt: skip


def tables(folder: Path, *changes: dict[str, Any], planned: tuple[str, ...] = ("a", "b", "c")) -> Tables:
    rows = [{**ROW, "trial_id": name, **changed} for name, changed in zip("abc", changes, strict=False)]
    return Tables(folder, {"trials": pd.DataFrame(rows)}, pd.DataFrame(), planned=planned)


def test_the_paragraph_says_what_when_on_what_how_to_leave_and_where_the_report_is() -> None:
    made = plan_kit.plan()
    wall_time = WallTime(360.0, 240.0, 540.0, "rates kept from earlier runs")
    text = opening_sentences(made, {made.trials[0].id}, wall_time, NOW, "2 CPU cores (a chip)", 84 * 10**9, "r.html")
    assert " ".join(text) == (
        "mine measures 2 trials, 1 of them still to do: 1 method on 1 network, 130 images of gaussian for each, then "
        "its time. This takes about 6 min here (4 to 9) and ends about 22:37 (22:35 to 22:40), from rates kept from "
        "earlier runs. Found 2 CPU cores (a chip), and 84 GB free on the disk of the results. Ctrl-C is safe: finished "
        "trials are kept, and the same command goes on from there. The report is there already and refreshes itself: "
        "r.html"
    )
    later = opening_sentences(made, set(), wall_time, NOW, "2", 1, "r.html", is_live=False)
    assert later[-1] == "The report of earlier rows stays there until the end: r.html"
    assert "report" not in " ".join(opening_sentences(made, set(), wall_time, NOW, "2", 1, ""))


@pytest.mark.parametrize(
    ("seconds", "low", "high", "text"),
    [
        (60, 60, 61, "22:32"),
        (3600, 1800, 7200, "23:31 (23:01 to Sat 00:31)"),
        (86400, 86400, 3 * 86400, "Sat 22:31 (Sat 22:31 to Mon 22:31)"),
        (30 * 86400, 20 * 86400, 40 * 86400, "27 Dec 22:31 (17 Dec 22:31 to 06 Jan 22:31)"),
    ],
)
def test_an_end_on_another_day_names_it(seconds: float, low: float, high: float, text: str) -> None:
    assert format_end(NOW, seconds, low, high) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0:00"), (59.6, "1:00"), (130, "2:10"), (3600, "1:00:00"), (90061, "25:01:01")]
)
def test_spans_are_minutes_and_seconds(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


def test_devices_are_counted_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "count_worker_cores", lambda: 8)
    assert describe_devices("cpu", "a chip", 1) == "1 of 8 CPU cores (a chip)"
    assert describe_devices("cpu", "a chip", 8) == describe_devices("cpu", "a chip", None) == "8 CPU cores (a chip)"
    assert describe_devices("cpu", "a chip", 2, is_here=False) == "2 CPU cores (a chip)"
    assert describe_devices("cuda", "a GPU", 4) == "4 a GPU"


def test_there_is_one_sentence_for_each_thing_that_is_wrong(tmp_path: Path) -> None:
    made = tables(
        tmp_path,
        {"verdict": "INVALID", "reasons": "no-fid: too few"},
        {"disturbed": "cpu", "steps": 7},
        {"returned": "the untuned network", "steps": 9},
    )
    assert wrong_sentences(made) == [
        "unet-8:ddim-5 is INVALID and does not rank: no-fid: too few",
        "timed while other work ran, so with wider intervals of time, which may not separate close rows: unet-8:ddim-7",
        "preparing returned the untuned network, so nothing is claimed: unet-8:ddim-9",
    ]
    only = tables(tmp_path, {"verdict": "INVALID", "reasons": "x"}, {}, planned=("b",))
    assert wrong_sentences(only) == exit_code_sentences(only) == []  # another run's row is not this one's


def test_exit_code_1_is_explained(tmp_path: Path) -> None:
    assert exit_code_sentences(tables(tmp_path, {}, {}, {})) == []
    assert exit_code_sentences(
        tables(tmp_path, {}, {"verdict": "INVALID"}, {"verdict": "INVALID", "status": "failed"})
    ) == [
        "exit code 1 means: 2 of 3 planned trials have no VALID row; all other rows and the report stand; the same "
        "command tries the 1 that failed again"
    ]


def test_the_sentences_of_the_report_follow_the_table_and_its_path_comes_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.txt").write_text("2M needs 10.\nDDIM does not reach it in 40.\n")
    assert list(result_lines(tmp_path, 80)) == ["2M needs 10.", "DDIM does not reach it in 40."]
    show_end(tables(tmp_path, {}, {}, {}), ["to go on:"])
    said = capsys.readouterr()
    assert said.out == "2M needs 10.\nDDIM does not reach it in 40.\n"
    assert said.err == f"to go on:\nreport: {tmp_path / 'report.html'}\n"


def test_a_long_table_is_cut_on_a_terminal_and_whole_in_a_pipe(tmp_path: Path) -> None:
    head = (
        "class,name,executor,column,fid,fid_low,fid_high,network_limit_fid,network_limit_fid_low,network_limit_fid_high"
    )
    rows = [f"c,net:m{number},serial,5,2.0,1.0,3.0,,," for number in range(90)]
    (tmp_path / "pivot.csv").write_text("\n".join([head, *rows]) + "\n")
    screen, pipe = list(result_lines(tmp_path, 80)), list(result_lines(tmp_path, None))
    assert f"and 50 more in {tmp_path / 'leaderboard.md'}" in screen
    assert len(screen) < 45
    assert len(pipe) == 93
