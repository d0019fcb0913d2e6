"""What the leaderboard says, and that nothing in a name or a reason can act in Markdown, CSV, LaTeX or HTML."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from kit import tables
from pandas import DataFrame
from PIL import Image

from harness.report.analysis.derive import derive
from harness.report.build import build_report
from harness.report.figures import draw as figures
from harness.report.formats import escape_csv, escape_latex, escape_markdown, format_number
from harness.report.leaderboard import Leaderboard, build_leaderboard
from harness.report.leaderboard_text import to_csv, to_latex, to_markdown
from harness.report.page import render_page
from harness.storage.sample_grid import write_grid

NASTY = [
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '=cmd|"/c calc"!A1', "+1+1", "-2", "@SUM(A1)",
    r"\input{/etc/passwd}", "50%_&#$~^{}", "a|b\n| c |", "[x](javascript:alert(1))", "*[bold", "$\\frac{$",
    "\x1b[31m é 漢",
]  # fmt: skip


def hostile(table: DataFrame) -> DataFrame:
    """Return a dozen rows whose names and reasons attack every target."""
    table = table[table["solver"].isin(["unipc", "ddim"])].head(len(NASTY)).reset_index(drop=True)
    table["method"] = table["network"] = table["reasons"] = table["extractor"] = NASTY[: len(table)]
    table["extractor"] = table["device_name"] = NASTY[0]
    table.loc[table.index % 3 == 2, "verdict"] = "INVALID"
    return table


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.running: list[str] = []
        """Hashes of the scripts, without blocks of data, as a policy writes them."""
        self.allowed: list[str] = []
        """Hashes of the policy."""
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.allowed = re.findall("sha256-[^']+", dict(attrs)["content"] or "")
        self._in_script = tag == "script" and "type" not in dict(attrs)

    def handle_data(self, data: str) -> None:
        if self._in_script:
            digest = base64.b64encode(hashlib.sha256(data.encode()).digest()).decode()
            self.running.append(f"sha256-{digest}")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    return build_leaderboard(derive(tables.tables()))


@pytest.fixture(scope="module")
def hostile_board() -> Leaderboard:
    return build_leaderboard(derive(tables.tables(hostile)))


def test_the_heading_names_everything_that_a_fid_needs(board: Leaderboard) -> None:
    conditions = " ".join(board.classes[0].conditions)
    row = tables.row("ddim", 20, 1.0, 1.0)
    for wanted in (row["extractor"], row["extractor_sha256"], "N = 1797", row["reference"], "N = 1437", "seed sets 0"):
        assert wanted in conditions
    for wanted in (
        row["device_name"],
        "Baseline: unet-small:ddim",
        "Clock: unet-small:ddim-20",
        "A/A floor: [0.986, 1.01], drift between timing blocks included",
        "2 floating-point",
        "not comparable",
    ):
        assert wanted in conditions


def test_only_inception_features_are_called_comparable() -> None:
    inception = build_leaderboard(derive(tables.tables(lambda table: table.assign(extractor="inception-v3-compat"))))
    conditions = " ".join(inception.classes[0].conditions)
    assert "not comparable" not in conditions
    assert "comparable to the literature" in conditions


def test_the_distance_of_dinov2_has_its_own_name() -> None:
    dinov2 = derive(tables.tables(lambda table: table.assign(extractor="dinov2:class-token bicubic-224")))
    (first, *_) = build_leaderboard(dinov2).classes
    conditions = " ".join(first.conditions)
    assert "FID here is FD-DINOv2" in conditions
    assert "to no FID" in conditions
    assert "whose FID is FD-DINOv2" in first.limits


def test_an_unstated_number_of_reference_images_is_said() -> None:
    why = "no bias floor of FID: the number of reference images is not stated"
    lacking = {"reference_n": None, "fid_floor": None, "not_measured": f"no KID: no features; {why}"}
    (first, *_) = build_leaderboard(derive(tables.tables(lambda table: table.assign(**lacking)))).classes
    assert "N = not stated, so there is no FID floor." in " ".join(first.conditions)
    place = [heading.key for heading in first.trials.headings].index("fid_floor")
    assert {row[place].notes for row in first.trials.rows} == {(why,)}


def test_every_empty_cell_of_a_trial_has_a_reason(board: Leaderboard) -> None:
    for one in board.classes:
        empty = [cell for row in one.trials.rows for cell in row if cell.text == "–"]
        assert empty
        assert all(cell.notes and cell.notes[0] in one.trials.notes for cell in empty)


def test_rows_that_do_not_rank_are_listed_counted_and_explained(board: Leaderboard) -> None:
    assert board.counts == "39 VALID, 1 INVALID, 1 failed of 41 trials"
    text = to_markdown(board)
    assert "Rows that do not rank (2)" in text
    assert "nan-samples: 3 images, first at index 17" in text
    assert "missing-u" not in " ".join(
        cell.text for one in board.classes for table in one.tables for row in table.rows for cell in row
    )


def test_markdown_tables_keep_their_shape_and_hold_no_html(hostile_board: Leaderboard) -> None:
    text = to_markdown(hostile_board)
    assert "<script" not in text
    assert "<img" not in text
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) <= 1


def test_no_csv_cell_is_a_formula(hostile_board: Leaderboard) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(hostile_board))))
    assert {row["method"] for row in rows} >= {'\'=cmd|"/c calc"!A1', "'+1+1", "'-2", "'@SUM(A1)"}
    for row in rows:
        for value in row.values():
            assert value[:1] not in "=+@\t\r" or value == ""
            assert value[:1] != "-" or float(value) < 0


def test_csv_numbers_read_back_exactly(board: Leaderboard) -> None:
    rows = {row["trial_id"]: row for row in csv.DictReader(io.StringIO(to_csv(board)))}
    source = tables.trials().query("verdict == 'VALID'").set_index("trial_id")
    assert len(rows) == 41
    assert all(float(rows[name]["fid"]) == fid for name, fid in source["fid"].items())


@pytest.mark.parametrize("text", NASTY)
def test_latex_text_holds_no_command_but_ours(text: str) -> None:
    result = escape_latex(text)
    assert result.isascii()
    assert r"\input" not in result
    assert r"\frac" not in result
    assert result.replace(r"\{", "").replace(r"\}", "").count("{") == result.replace(r"\{", "").replace(
        r"\}", ""
    ).count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(hostile_board: Leaderboard, board: Leaderboard, tmp_path: Path) -> None:
    (tmp_path / "a.tex").write_text(to_latex(hostile_board), encoding="utf-8")
    (tmp_path / "b.tex").write_text(to_latex(board), encoding="utf-8")
    page = r"\documentclass{article}\usepackage{graphicx}\begin{document}\input{a}\clearpage\input{b}\end{document}"
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


@pytest.mark.parametrize("template", ["leaderboard.html.j2"])
def test_a_page_asks_the_network_for_nothing_and_runs_only_our_script(
    hostile_board: Leaderboard, template: str
) -> None:
    page = Page(render_page(template, board=hostile_board))
    assert page.tags.count("script") == 0
    assert page.handlers == []
    assert [address for address in page.addresses if not address.startswith(("data:image/", "#"))] == []


def test_the_report_survives_hostile_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DRAWERS", {"headline": figures.DRAWERS["headline"]})
    build_report(tmp_path, tables.tables(lambda table: hostile(table).head(6)))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.running == page.allowed
    assert page.handlers == []
    assert [address for address in page.addresses if not address.startswith(("data:image/", "#"))] == []


def _no_rows(table: DataFrame) -> DataFrame:
    return table.head(0)


def _none_valid(table: DataFrame) -> DataFrame:
    return table.assign(verdict="INVALID", fid=None, reasons="no time")


def _one_row(table: DataFrame) -> DataFrame:
    return table[table["verdict"] == "VALID"].head(1)


@pytest.mark.parametrize("change", [_no_rows, _none_valid, _one_row])
def test_a_report_of_little_is_still_a_report(change: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = change(tables.trials())  # type: ignore[operator]
    monkeypatch.setattr(figures, "DRAWERS", {"headline": figures.DRAWERS["headline"]})
    written = build_report(tmp_path, {"trials": trials})
    assert {path.name for path in written} >= {"report.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex"}
    assert all(path.stat().st_size for path in written)


def test_sample_pictures_are_embedded_by_trial(tmp_path: Path) -> None:
    trials = tables.trials().head(2).assign(fid=None)
    pictures = np.arange(2 * 3 * 8 * 8, dtype=np.uint8).reshape(2, 3, 8, 8)
    write_grid(tmp_path / "samples" / f"{trials['trial_id'][0]}.png", pictures)
    (tmp_path / "samples" / f"{trials['trial_id'][1]}.png").write_bytes(b"no picture")
    build_report(tmp_path, {"trials": trials})
    data = read_data((tmp_path / "report.html").read_text(encoding="utf-8"))
    strips = [trial["strip"] for trial in data["details"]["trials"].values()]
    assert sorted(bool(strip) for strip in strips) == [False, True]
    with Image.open(io.BytesIO(base64.b64decode(max(strips).partition(",")[2]))) as image:
        strip = np.asarray(image)
    assert strip.shape == (8, 8 + 1 + 8, 4)  # own size, and a gap that becomes 8 pixels where pictures become 64
    assert (strip[:, :8, :3].transpose(2, 0, 1) == pictures[0]).all()
    assert (strip[:, 9:, :3].transpose(2, 0, 1) == pictures[1]).all()
    assert (strip[..., 3] == np.where(np.arange(17) == 8, 0, 255)).all()


def read_data(page: str) -> dict:
    """Return the block of data of a page."""
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_crash_while_rendering_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DRAWERS", {"headline": figures.DRAWERS["headline"]})
    trials = {"trials": tables.trials().head(0)}
    build_report(tmp_path, trials)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(*_: object) -> str:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("harness.report.build.to_latex", fail)
    with pytest.raises(RuntimeError):
        build_report(tmp_path, tables.tables(_one_row))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.99951, "1.00"), (9.996, "10.0"), (1234.4, "1234"), (-0.01234, "-0.0123"), (3e9, "3.00e+09")],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_escapes_are_what_each_language_asks_for() -> None:
    assert escape_markdown("a_b|<c>") == r"a\_b\|&lt;c&gt;"
    assert escape_latex("50 % of a_b & c") == r"50 \% of a\_b \& c"
    assert escape_csv("=1+1") == "'=1+1"
    assert escape_csv("ddim") == "ddim"
