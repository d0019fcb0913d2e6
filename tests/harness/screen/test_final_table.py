"""The table at the end fits the terminal, is whole in a pipe, and takes every figure from the report's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.screen.final_table import MOST_COLUMNS, fit_table, plain_lines, read_final_tables

REFERENCE = Path(__file__).resolve().parents[3] / "results/reference"
SUITES = sorted(folder.name for folder in REFERENCE.iterdir() if (folder / "pivot.csv").is_file())

PIVOT = """\
class,name,executor,column,fid,fid_low,fid_high,network_limit_fid,network_limit_fid_low,network_limit_fid_high
c,net:slow,serial,5,20.04,18.04,22.04,1.12,0.2,2.04
c,net:slow,serial,10,5.43,4.06,6.8,1.12,0.2,2.04
c,net:early-exit(reverse=True)/fast@few-step,serial,10,1.2346,,,,,
"""
TIMES = """\
class,name,executor,target,ranked_by,throughput_state,throughput_seconds,latency_state,latency_seconds
c,net:slow,serial,3.0,throughput,not reached,,reached,0.5
c,net:early-exit(reverse=True)/fast@few-step,serial,3.0,throughput,reached at its smallest step count,0.00088,reached,1
c,net:slow,serial,0.1,throughput,not reached,,reached,0.5
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
