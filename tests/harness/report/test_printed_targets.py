"""What the tables print of targets, ranks and trainings is what the analysis found."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pandas as pd
import pytest
from kit import tables
from kit.target_kit import TARGETS, with_targets
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.limits import BELOW_LIMIT
from harness.report.analysis.target_time import PARTLY
from harness.report.figures.target_frames import frames_by_target
from harness.report.formats import format_count
from harness.report.leaderboard import Leaderboard, build_leaderboard
from harness.report.quality_csv import pivot_csv, time_to_quality_csv
from harness.report.tables.summary import fastest_sentence
from harness.report.tables.target_table import TIES_WITH_RANK_1, target_tables


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return derive(tables.tables(with_targets))


@pytest.fixture(scope="module")
def board(analysis: Analysis) -> Leaderboard:
    return build_leaderboard(analysis)


def in_trainings(*factors: float, alone: str = "") -> Leaderboard:
    """Return the tables of rows in one training per factor of FID; the method `alone` is in training 0 only."""

    def add(table: DataFrame) -> DataFrame:
        copies = []
        for training, factor in enumerate(factors):
            ids = [tables.trial_id(training, one) if training else one for one in table["trial_id"]]
            fids = {name: table[name] * factor for name in ("fid", "fid_low", "fid_high")}
            copies.append(table.assign(training=training, trial_id=ids, **fids))
        table = pd.concat(copies, ignore_index=True)
        table = table[(table["training"] == 0) | (table["method"] != alone)]
        return table.assign(fid_targets=json.dumps(TARGETS))

    return build_leaderboard(derive(tables.tables(add)))


def test_a_target_that_some_trainings_miss_has_no_time_anywhere() -> None:
    board = in_trainings(1.0, 2.0, 30.0)
    one = board.classes[0]
    partly = {key: time for key, time in one.quality.times.items() if time.ranked.time.state == PARTLY}
    assert partly
    cells = [cell for table in (*one.main, *one.targets) for row in table.rows for cell in row]
    printed = [cell for cell in cells if "trainings" in cell.text]
    assert {cell.text for cell in printed} <= {f"reached in {k} of 3 trainings" for k in (1, 2)}
    assert len(printed) >= len(partly)
    stored = list(csv.DictReader(io.StringIO(time_to_quality_csv(board))))
    found = [row for row in stored if row["throughput_state"] == PARTLY]
    assert found
    assert {row[f"throughput_{name}"] for row in found for name in ("seconds", "seconds_low", "steps")} == {""}
    notes = [note for table in frames_by_target(one.quality).values() for note in table["note"] if note]
    assert set(notes) <= {f"reached in {k} of 3 trainings, " for k in (1, 2)}
    assert notes


def test_a_fid_over_fewer_trainings_says_so_in_table_and_csv() -> None:
    board = in_trainings(1.0, 1.1, alone="unipc")
    table = board.classes[0].main[0]
    at = [place for place, heading in enumerate(table.headings) if heading.key.startswith("fid_")]
    for row in table.rows:
        marked = {"over 1 training" in row[place].notes for place in at if row[place].text != "–"}
        assert marked == {row[0].value == "unet-small:unipc"}
    stored = list(csv.DictReader(io.StringIO(pivot_csv(board))))
    serial = [row for row in stored if row["class"] == board.classes[0].title and row["executor"] == "serial"]
    assert serial
    assert all(row["trainings"] == ("1" if row["method"] == "unipc" else "2") for row in serial)
    # all alike: nothing to say
    every = in_trainings(1.0, 1.1).classes[0].main[0].notes
    assert not [note for note in every if note.startswith("over ")]


def test_conditions_say_whose_limit_it_is_and_what_a_tie_is(board: Leaderboard) -> None:
    one = board.classes[0]
    assert any("as trained, whole" in condition for condition in one.main[0].conditions)
    assert any("a wide interval ties with more" in condition for condition in one.trials.conditions)


def test_a_throughput_of_zero_prints_a_dash() -> None:
    stopped = ["throughput_images_per_second", "speedup", "speedup_low", "speedup_high"]
    stored = tables.tables(with_targets)
    stored["trials"].loc[stored["trials"]["method"] == "unipc", list(stopped)] = 0.0
    one = build_leaderboard(derive(stored)).classes[0]
    cells = [cell.text for t in (*one.main, *one.targets, one.trials) for row in t.rows for cell in row]
    assert not [text for text in cells if "inf" in text]
    at = [heading.key for heading in one.trials.headings].index("throughput_images_per_second")
    assert {row[at].text for row in one.trials.rows if ":unipc" in row[0].text} == {"–"}


def test_lines_that_cannot_be_told_from_rank_1_or_the_first_are_marked_and_counted(board: Leaderboard) -> None:
    one = board.classes[0]
    marked = {
        (row[1].value, table.title.split("FID ")[1])
        for table in one.targets for row in table.rows if TIES_WITH_RANK_1 in row[0].notes
    }  # fmt: skip
    wanted = {
        (time.line.name, format_count(time.target)) for time in one.quality.times.values() if time.ties_with_rank_1
    }
    assert marked == wanted
    # made to tie
    tightest = min(target for (_, target), time in one.quality.times.items() if time.rank)
    for count, words in ((0, ""), (1, ", a tie of 2 methods: "), (2, ", a tie of 3 methods: ")):
        changed = dict(one.quality.times)
        for line in one.quality.serial[1 : 1 + count]:
            key = line.name, tightest
            changed[key] = replace(changed[key], ties_with_first=True, ties_with_rank_1=True)
        for line in (*one.quality.serial[:1], *one.quality.serial[1 + count :]):
            key = line.name, tightest
            changed[key] = replace(changed[key], ties_with_first=False)
        quality = replace(one.quality, times=changed)
        first = fastest_sentence(quality)
        assert words in first
        assert first.startswith("Fastest to FID")
        assert ("a tie" in first) == bool(count)
        table = next(
            t for t in target_tables(quality, parallel=False) if t.title.endswith(f"FID {format_count(tightest)}")
        )
        noted = {row[1].value for row in table.rows if TIES_WITH_RANK_1 in row[0].notes}
        assert {line.name for line in one.quality.serial[1 : 1 + count]} <= noted


def test_conditions_of_a_target_count_what_misses_it_and_explain_ratios(board: Leaderboard) -> None:
    one = board.classes[0]
    tightest = one.targets[-1]
    reaching = [line for line in one.quality.serial if line.name in {row[1].value for row in tightest.rows}]
    missing = [line for line in one.quality.serial if line not in reaching]
    assert len(missing) > 1
    for count, words in ((0, ""), (1, "1 further line does not reach"), (2, "2 further lines do not reach")):
        quality = replace(one.quality, serial=(*reaching, *missing[:count]))
        table = target_tables(quality, parallel=False)[-1]
        text = " ".join(table.conditions)
        assert table.title == tightest.title
        assert words in text
        assert ("further" in text) is bool(count)
        assert "Ratios are paired" in text
        assert "count it" not in text


def test_ratios_from_rows_below_the_limit_carry_the_footnote(board: Leaderboard) -> None:
    one = board.classes[0]
    ratios = 0
    for target, table in zip(TARGETS, one.targets, strict=False):
        for row in table.rows:
            for cell in row[5:7]:
                if "×" in cell.text:
                    below = one.quality.times[str(row[1].value), target].below_limit
                    assert (BELOW_LIMIT in cell.notes) is below
                    ratios += below
    assert ratios


def test_without_a_card_the_limit_is_unknown_and_nothing_follows_from_it() -> None:
    board = build_leaderboard(derive(tables.tables()))
    one = board.classes[0]
    assert any("so the limit is unknown" in condition for condition in one.main[0].conditions)
    for table in (*one.main, one.trials):
        place = [heading.key for heading in table.headings].index("network_limit_fid")
        assert {row[place].text for row in table.rows} == {"unknown"}
        assert all(": its row with" not in note and note != BELOW_LIMIT for note in table.notes)
    assert "limit" not in one.limits
    assert all(row["network_limit_fid"] == "" for row in csv.DictReader(io.StringIO(pivot_csv(board))))
