"""The table at the end fits the terminal, is whole in a pipe, and takes every figure from the report's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.screen.final_table import MOST_COLUMNS, fit_table, full_title, plain_lines, read_final_tables

REFERENCE = Path(__file__).resolve().parents[3] / "results/reference"
SUITES = sorted(folder.name for folder in REFERENCE.iterdir() if (folder / "pivot.csv").is_file())

PIVOT = """\
class,name,executor,column,fid,fid_low,fid_high,network_limit_fid,network_limit_fid_low,network_limit_fid_high
c,net:slow,serial,5,20.04,18.04,22.04,1.12,0.2,2.04
c,net:slow,serial,10,5.43,4.06,6.8,1.12,0.2,2.04
c,net:early-exit(reverse=True)/fast@few-step,serial,10,1.2346,,,,,
"""
TIMES = """\
class,name,executor,target,ranked_by,throughput_state,throughput_seconds,throughput_seconds_high,latency_state,\
latency_seconds,latency_seconds_high
c,net:slow,serial,3.0,throughput,not reached,,,reached,0.5,0.6
c,net:early-exit(reverse=True)/fast@few-step,serial,3.0,throughput,reached at its smallest step count,0.00088,0.001,\
reached,1,2
c,net:slow,serial,0.1,throughput,not reached,,,reached,0.5,0.6
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pivot.csv").write_text(PIVOT)
    (tmp_path / "time_to_quality.csv").write_text(TIMES)
    return tmp_path


def test_it_holds_the_figures_of_the_files_and_a_target_that_is_reached(folder: Path) -> None:
    (table,) = read_final_tables(folder)
    assert fit_table(table, 160) == [
        "method                                            limit  FID at 5   FID at 10      ms to 3",
        "net:slow                                    1.12 ± 0.92    20 ± 2  5.43 ± 1.4  not reached",
        "net:early-exit(reverse=True)/fast@few-step                               1.23       ≤ 0.88",
    ]


def test_a_narrow_terminal_loses_intervals_then_the_middle_of_names_then_columns(folder: Path) -> None:
    (table,) = read_final_tables(folder)
    assert fit_table(table, 80)[0] == "method                                      limit  FID@5  FID@10    ms→3"
    assert fit_table(table, 66)[2].startswith("net:early-exit(rev…ue)/fast@few-step ")
    assert fit_table(table, 50)[0].split() == ["method", "limit", "FID@5", "FID@10"]
    for width in range(10, 120):
        assert all(len(line) <= width for line in fit_table(table, width))


def test_a_pipe_gets_all_of_it_in_columns_for_cut_and_grep(folder: Path) -> None:
    (table,) = read_final_tables(folder)
    lines = plain_lines(table)
    assert [line.split("\t")[3].strip() for line in lines] == ["FID at 10", "5.43 ± 1.4", "1.23"]
    assert [line.split("\t")[0].strip() for line in lines][1:] == [
        "net:slow", "net:early-exit(reverse=True)/fast@few-step",
    ]  # fmt: skip
    assert len({line.index("\t") for line in lines}) == 1


OPEN = " (? its interval does not show that it reaches that FID)"


@pytest.mark.parametrize(
    ("state", "high", "cell", "explained"),
    [
        ("reached", "0.001", "0.88", ""),
        ("reached", "", "0.88?", OPEN),
        ("reached at its smallest step count", "", "≤ 0.88?", OPEN),
    ],
)
def test_a_time_without_an_upper_end_is_marked_and_the_title_says_what_the_mark_means(
    folder: Path, state: str, high: str, cell: str, explained: str
) -> None:
    text = TIMES.replace("reached at its smallest step count,0.00088,0.001", f"{state},0.00088,{high}")
    (folder / "time_to_quality.csv").write_text(text)
    (table,) = read_final_tables(folder)
    for lines in (fit_table(table, 80), plain_lines(table)):
        assert lines[1].endswith(" no" if lines[0].endswith("ms→3") else "not reached")  # a word needs no mark
        assert lines[2].replace("\t", " ").endswith(f" {cell}")
    assert (
        full_title(table, fit_table(table, 80)) == f"c: FID by evaluations; ms an image in a batch to an FID{explained}"
    )


@pytest.mark.parametrize(
    ("executor", "ranked_by", "said"),
    [
        ("serial", "throughput", "ms an image in a batch to an FID"),
        ("parallel", "latency", "ms an image alone to an FID"),
    ],
)
def test_the_title_says_how_the_image_of_a_time_is_made(folder: Path, executor: str, ranked_by: str, said: str) -> None:
    for name, text in (("pivot.csv", PIVOT), ("time_to_quality.csv", TIMES)):
        (folder / name).write_text(text.replace(",serial,", f",{executor},").replace(",throughput,", f",{ranked_by},"))
    (table,) = read_final_tables(folder)
    assert said in full_title(table, plain_lines(table))


def test_the_title_names_no_times_where_none_fit(folder: Path) -> None:
    (table,) = read_final_tables(folder)
    assert full_title(table, fit_table(table, 66)) == "c: FID by evaluations; ms an image in a batch to an FID"
    assert full_title(table, fit_table(table, 50)) == "c: FID by evaluations"
    (folder / "time_to_quality.csv").unlink()
    (table,) = read_final_tables(folder)
    assert full_title(table, plain_lines(table)) == "c: FID by evaluations (± half the 95 % interval)"


def test_without_rows_that_rank_there_is_no_table(tmp_path: Path) -> None:
    assert read_final_tables(tmp_path) == []
    (tmp_path / "pivot.csv").write_text(PIVOT.splitlines()[0] + "\n")
    assert read_final_tables(tmp_path) == []


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("width", [80, 160])
def test_reference_runs_fit(suite: str, width: int) -> None:
    tables = read_final_tables(REFERENCE / suite)
    assert tables
    for table in tables:
        lines = fit_table(table, width)
        assert len(table.headings) <= MOST_COLUMNS
        assert len(lines) == len(table.rows) + 1
        assert max(map(len, lines)) <= width
        assert len({line.split()[0] for line in lines}) > 1
