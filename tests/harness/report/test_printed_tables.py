"""Every printed name, heading and number of the leaderboard, compared with the stored and derived rows."""

from __future__ import annotations

import csv
import io
import math
import re
from html.parser import HTMLParser

import pytest
from kit import tables
from kit.target_kit import with_targets
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.limits import BELOW_LIMIT
from harness.report.formats import format_number
from harness.report.leaderboard import Leaderboard, build_leaderboard
from harness.report.leaderboard_text import CSV_COLUMNS, to_csv, to_latex, to_markdown
from harness.report.page import render_page
from harness.report.quality_csv import pivot_csv, time_to_quality_csv
from harness.report.sections import price_table, step_table, timing_table
from harness.report.tables.target_table import DISTURBED
from harness.schema.trial_name import method_line_name, trial_name


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return derive(tables.tables(with_targets))


@pytest.fixture(scope="module")
def board(analysis: Analysis) -> Leaderboard:
    return build_leaderboard(analysis)


@pytest.fixture(scope="module")
def trial_names(analysis: Analysis) -> list[str]:
    return [trial_name(*row) for row in analysis.trials[["network", "method", "steps"]].itertuples(index=False)]


@pytest.fixture(scope="module")
def line_names(analysis: Analysis) -> set[str]:
    return {method_line_name(*row) for row in analysis.trials[["network", "method"]].itertuples(index=False)}


def plain(name: str) -> str:
    return re.sub(r" \((the clock|baseline|the clock, baseline)\)$", "", name)


def markdown_rows(text: str) -> list[list[str]]:
    """Return the cells of every table line, headings and footnotes' marks away."""
    rows = []
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            clean = re.sub(r" <sup>[\d, ]+</sup>", "", line).replace("\\_", "_").replace("\\[", "[").replace("\\]", "]")
            rows.append([cell.strip() for cell in clean.strip("|").split(" | ")])
    return rows


def test_every_name_in_markdown_is_that_of_one_trial_or_one_method(
    board: Leaderboard, trial_names: list[str], line_names: set[str]
) -> None:
    headings = {"Method", "Trial", "Rank"}
    found = {"trial": 0, "line": 0}
    for row in markdown_rows(to_markdown(board)):
        if row[0].strip() in headings:
            name_at = [cell.strip() for cell in row].index("Trial" if "Trial" in row else "Method")
            continue
        name = plain(row[name_at].strip())
        kind = "trial" if name in trial_names else "line"
        assert kind == "line" or trial_names.count(name) == 1
        assert kind == "trial" or name in line_names
        found[kind] += 1
    assert found["trial"] == len(trial_names)
    assert found["line"] > len(line_names)


def test_no_two_lines_of_a_table_are_alike(board: Leaderboard) -> None:
    for one in board.classes:
        for table in one.tables:
            names = [
                next(cell.text for cell, h in zip(row, table.headings, strict=True) if h.words) for row in table.rows
            ]
            assert len(names) == len(set(names))
    lines = [line for line in to_latex(board).splitlines() if line.endswith(r"\\") and ":" in line]
    assert lines
    assert len(lines) == len(set(lines))


def test_every_line_in_latex_names_its_network(board: Leaderboard, line_names: set[str]) -> None:
    body = to_latex(board).split("Rows that do not rank")[0]
    shown = re.findall(r"^(unet\S+?:.*?) &", body, flags=re.MULTILINE)
    names = {plain(name.replace("{-}", "-")) for name in shown}
    serial_and_parallel = {line.name for one in board.classes for line in (*one.quality.serial, *one.quality.parallel)}
    assert names == serial_and_parallel
    assert names <= line_names


def test_a_latex_table_ends_where_the_page_does(analysis: Analysis) -> None:
    many = tables.tables(
        lambda table: DataFrame([
            {**tables.row("unipc", 5, 9.0, 0.5), "network": f"net-{k:02}", "trial_id": tables.trial_id(k)}
            for k in range(80)
        ])
    )  # fmt: skip
    text = to_latex(build_leaderboard(derive(many)))
    bodies = [part.split(r"\bottomrule")[0] for part in text.split(r"\midrule")[1:]]
    assert [len(re.findall(r"^net", body, flags=re.MULTILINE)) for body in bodies if "net" in body] == [36, 36, 8]


class Cells(HTMLParser):
    """Collects the text of the first cell of every body row, outside inner tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.summaries: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "summary"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.summaries.append(data)
        self._inside = False


def test_trials_unfold_below_their_method_in_html(board: Leaderboard, trial_names: list[str]) -> None:
    text = render_page("leaderboard.html.j2", board=board)
    summaries = [plain(one) for one in Cells(text).summaries]
    lines = [line.name for one in board.classes for line in (*one.quality.serial, *one.quality.parallel)]
    assert [one for one in summaries if not one.startswith("Trials")] == lines
    for name in {row[0].text for one in board.classes for row in one.trials.rows}:
        assert text.count(f"<td>{name}</td>") == 1  # once below its method, once in the table of trials


def test_names_in_captions_prices_steps_and_timings_are_trial_names(analysis: Analysis, trial_names: list[str]) -> None:
    prices = [row[0] for row in price_table(analysis).rows]
    assert len(prices) == len(set(prices))
    for section in (price_table(analysis), step_table(analysis), timing_table(analysis)):
        assert {row[0] for row in section.rows} <= set(trial_names)


def test_printed_numbers_are_the_stored_and_derived_ones(board: Leaderboard) -> None:
    scale = {"flops_per_image": 1e-9, "latency_seconds": 1e3}
    for one in board.classes:
        rows = one.source.set_index("trial_id")
        for (trial_id, row), cells in zip(rows.iterrows(), one.trials.rows, strict=True):
            printed = dict(zip((heading.key for heading in one.trials.headings), cells, strict=True))
            assert plain(printed["trial"].text) == trial_name(row["network"], row["method"], row["steps"]), trial_id
            for key in ("fid", "fid_floor", "nfe", "speedup", "tie_group", "throughput_images_per_second",
                        "latency_seconds", "flops_per_image"):  # fmt: skip
                text = printed[key].text.split()[0].rstrip("×")
                wanted = row[key] * scale.get(key, 1.0)
                assert float(text) == pytest.approx(wanted, rel=0.006), (trial_id, key)


def test_the_printed_batch_is_that_of_the_measured_throughput(board: Leaderboard) -> None:
    source = tables.tables(with_targets)
    source["trials"]["batch"] = 50
    source["timings"]["batch"] = source["timings"]["batch"].where(source["timings"]["kind"] == "latency", 2)
    one = build_leaderboard(derive(source)).classes[0]
    place = [heading.key for heading in one.trials.headings].index("throughput_batch")
    assert {row[place].text for row in one.trials.rows} == {"2"}
    assert "throughput measured at batch 2." in " ".join(one.conditions)


def test_bounds_and_what_is_not_reached_never_sort_as_values(board: Leaderboard) -> None:
    cells = [cell for one in board.classes for t in (*one.main, *one.targets) for row in t.rows for cell in row]
    bounds = [cell for cell in cells if cell.text.startswith(("≤", "≥", "not reached"))]
    assert {cell.text[0] for cell in bounds} == {"≤", "≥", "n"}
    assert all(cell.value == "" for cell in bounds)


def test_ranks_are_those_of_the_table_in_order(board: Leaderboard) -> None:
    for one in board.classes:
        for table in one.targets:
            bounds = [row[3 if "latency" in table.title else 2].text.startswith("≤") for row in table.rows]
            values = [row[0].text for row, bound in zip(table.rows, bounds, strict=True) if not bound]
            assert values == [str(place) for place in range(1, len(values) + 1)]
            assert {row[0].text for row, bound in zip(table.rows, bounds, strict=True) if bound} <= {"–"}


def test_rows_below_the_networks_limit_carry_the_footnote_everywhere(board: Leaderboard) -> None:
    one = board.classes[0]
    assert one.quality.below_limit
    fid = [heading.key for heading in one.trials.headings].index("fid")
    marked = {row[0].value for row in one.trials.rows if BELOW_LIMIT in row[fid].notes}
    rows = one.source[one.source["trial_id"].isin(one.quality.below_limit)]
    assert marked == {trial_name(row["network"], row["method"], row["steps"]) for _, row in rows.iterrows()}
    pivot = [cell for row in one.main[0].rows for cell in row[2:] if BELOW_LIMIT in cell.notes]
    assert len([cell for cell in pivot if "not" not in cell.text]) >= len(marked)
    # no time is claimed from such a row without it
    for time in one.quality.times.values():
        used = set(time.ranked.time.trial_ids) & one.quality.below_limit
        assert time.below_limit or not used


def test_csv_files_hold_the_columns_and_the_numbers_in_full(board: Leaderboard, analysis: Analysis) -> None:
    assert set(analysis.classes[0].rows.columns) <= {*CSV_COLUMNS}
    fids = analysis.trials.set_index("trial_id")["fid"]
    cells = list(csv.DictReader(io.StringIO(pivot_csv(board))))
    assert all(float(cell["fid"]) == fids[cell["trial_id"]] for cell in cells)
    assert len(cells) == sum(len(one.source) for one in board.classes)
    times = list(csv.DictReader(io.StringIO(time_to_quality_csv(board))))
    assert len(times) == sum(len(one.quality.times) for one in board.classes)
    for row in times:
        wanted = board.classes[0].quality.times.get((row["name"], float(row["target"])))
        if wanted is not None and row["class"] == board.classes[0].title:
            seconds = wanted.by_measure["throughput"].time.seconds
            assert row["throughput_seconds"] == ("" if math.isnan(seconds) else repr(seconds))
    assert to_csv(board).startswith("verdict,reasons,network,method")


def test_without_targets_the_pivot_stands_alone_and_says_why() -> None:
    one = build_leaderboard(derive(tables.tables())).classes[0]
    assert one.targets == ()
    assert not [heading for heading in one.main[0].headings if heading.key.startswith("time_")]
    assert "names no FID targets" in " ".join(one.main[0].conditions)
    best = [line.rows["fid"].min() for line in one.quality.serial]
    assert best == sorted(best)


def test_disturbed_rows_have_a_note_and_most_of_them_a_banner() -> None:
    analysis = derive(tables.tables(with_targets))
    rows = analysis.classes[0].rows
    for share, banner in ((0.4, False), (0.8, True)):
        spoilt = [place < share * len(rows) for place in range(len(rows))]
        rows["disturbed"] = ["had 61 % of its core" if bad else "" for bad in spoilt]
        one = build_leaderboard(analysis).classes[0]
        assert bool(one.banner) is banner
        noted = [row for row in one.trials.rows if "disturbed timing: had 61 % of its core" in row[0].notes]
        assert len(noted) == sum(spoilt)
        assert any(DISTURBED in cell.notes for table in one.targets for row in table.rows for cell in row)
    text = to_markdown(build_leaderboard(analysis))
    assert f"**Disturbed: {sum(spoilt)} of {len(rows)} rows were timed" in text


def test_times_in_the_main_table_are_those_of_the_analysis(board: Leaderboard) -> None:
    one = board.classes[0]
    for row in one.main[0].rows:
        for cell, heading in zip(row, one.main[0].headings, strict=True):
            if not heading.key.startswith("time_"):
                continue
            time = one.quality.times[row[0].value, float(heading.key.removeprefix("time_"))].ranked.time  # type: ignore[index]
            if cell.text.startswith("not reached"):
                assert math.isnan(time.seconds)
            else:
                assert format_number(time.seconds * 1e3) in cell.text


def test_the_report_begins_with_what_its_tables_show(board: Leaderboard) -> None:
    one = board.classes[0]
    first, best = one.summary
    tightest = min(t for (_, t), time in one.quality.times.items() if not math.isnan(time.ranked.time.seconds))
    reached = [time for (_, t), time in one.quality.times.items() if t == tightest and not time.line.parallel]
    fastest = min(reached, key=lambda time: (math.isnan(time.ranked.time.seconds), time.ranked.time.seconds))
    assert f"{fastest.line.name} (" in first
    assert format_number(fastest.ranked.time.seconds * 1e3) in first
    lowest = one.source.sort_values(["fid", "trial_id"]).iloc[0]
    assert trial_name(lowest["network"], lowest["method"], lowest["steps"]) in best
    others = (one.source["tie_group"] == 1).sum() - 1
    assert (f", a tie of {others + 1} rows: " in best) == (others > 0)
    assert one.limits.endswith(
        f"{len(one.quality.below_limit)} of the rows lie below their network's own limit, where errors cancel."
    )
