"""The verb `paper`, as a user calls it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kit.cli_kit import Command
from pandas import DataFrame

from harness.cli.paper import list_plug_ins, read_tool
from harness.report.paper.paper_figures import FIGURES
from harness.storage.planned import read_planned, read_planned_settings, write_planned

REFERENCE = Path(__file__).resolve().parents[3] / "results/reference"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.paper.paper_figures.FIGURES", {"fid-evaluations": FIGURES["fid-evaluations"]})


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_written_twice_it_has_the_same_bytes_in_another_process(command: Command, tmp_path: Path) -> None:
    to = tmp_path / "paper"
    said = command("paper", "quick", "--results", REFERENCE, "--to", to)
    assert said.code == 0
    first = digests(to)
    assert set(said.out.split()) == {str(to / name) for name in first}
    assert (to / "reproduce.sh").stat().st_mode & 0o111

    words = [sys.executable, "-m", "harness", "paper", str(REFERENCE / "quick"), "--to", str(to)]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    subprocess.run(words, check=True, env=environment, cwd=REFERENCE.parents[1], capture_output=True, timeout=240)
    assert digests(to) == first


@pytest.mark.usefixtures("undrawn")
def test_by_default_it_lies_in_the_results_which_stay_sound(command: Command, tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "quick", tmp_path / "quick")
    assert command("paper", "quick", "--results", tmp_path, "--top", "2", "--columns", "fid").code == 0
    assert (tmp_path / "quick/paper/main.tex").is_file()
    doctor = command("doctor", tmp_path)
    assert "paper" not in doctor.out
    assert sorted(path.name for path in (tmp_path / "quick/paper").iterdir()) == [
        "figures", "main.tex", "methods.tex", "numbers.tex", "references.bib", "reproduce.sh", "tables",
    ]  # fmt: skip


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("quik",), 'found no results "quik"'),
        (("quick", "--columns", "fidd"), '--columns has "fidd"; expected words of: method, '),
        (("quick", "--top", "0"), "'--top'"),
    ],
)
def test_bad_words_are_one_sentence_and_write_nothing(
    command: Command, words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    said = command("paper", *words, "--results", REFERENCE, "--to", tmp_path / "paper")
    assert said.code == 2
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "paper").exists()


@pytest.mark.usefixtures("undrawn")
def test_files_of_others_are_never_replaced(command: Command, tmp_path: Path) -> None:
    own = tmp_path / "main.tex"
    own.write_text("my thesis")
    said = command("paper", "quick", "--results", REFERENCE, "--to", tmp_path)
    assert (said.code, own.read_text()) == (2, "my thesis")
    assert "has files that `oneclock paper` did not write; expected a new folder by --to" in said.err
    assert "is a file" in command("paper", "quick", "--results", REFERENCE, "--to", own).err


@pytest.mark.usefixtures("undrawn")
def test_damaged_results_make_no_paper(command: Command, tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "quick", tmp_path / "quick")
    next((tmp_path / "quick/trials").glob("*.parquet")).write_bytes(b"torn")
    said = command("paper", "quick", "--results", tmp_path)
    assert said.code == 4
    assert not (tmp_path / "quick/paper").exists()


@pytest.mark.usefixtures("undrawn")
def test_the_settings_of_the_run_are_in_the_script(command: Command, tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "quick", tmp_path / "quick")
    planned = read_planned(tmp_path / "quick")
    assert planned is not None
    write_planned(tmp_path / "quick", planned, "T", ["n_images=500"])
    assert command("paper", "quick", "--results", tmp_path).code == 0
    script = (tmp_path / "quick/paper/reproduce.sh").read_text()
    assert "python -m harness run quick --set n_images=500\n" in script


def test_methods_that_are_not_shipped_are_named_once_installed_or_not() -> None:
    rows = [{"denoiser": "full", "schedule": "edm", "solver": "ddim", "executor": "serial"}] * 2
    assert list_plug_ins(DataFrame(rows)) == ()
    rows += [{**rows[0], "solver": "my-solver"}, {**rows[0], "denoiser": "ddim"}, {**rows[0], "executor": None}]
    assert list_plug_ins(DataFrame(rows * 2)) == ("ddim", "my-solver")


def test_a_run_keeps_its_settings(command: Command, suite: str, tmp_path: Path) -> None:
    assert command("run", suite, "--results", tmp_path, "--set", "title=other").code == 0
    assert read_planned_settings(tmp_path / "toy") == ("title=other",)
    assert command("run", suite, "--results", tmp_path).code == 0
    assert read_planned_settings(tmp_path / "toy") == ()


def test_the_tool_is_that_of_the_citation(tmp_path: Path) -> None:
    from pandas import DataFrame

    trials = DataFrame({"dataset": ["digits", "not-here"]})
    tool = read_tool(trials)
    assert tool.title.startswith("oneclock: methods that accelerate")
    assert tool.authors == ("The contributors to oneclock",)
    assert tool.datasets["not-here"] == ""
    assert tool.datasets["digits"]
    assert read_tool(trials, tmp_path / "absent.cff").title == "oneclock"


@pytest.mark.skipif(shutil.which("pdflatex") is None or shutil.which("bibtex") is None, reason="no LaTeX here")
@pytest.mark.parametrize("name", ["quick", "photos"])
def test_main_compiles(command: Command, name: str, tmp_path: Path) -> None:
    assert command("paper", name, "--results", REFERENCE, "--to", tmp_path / "paper").code == 0
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main"]
    for words in (latex, ["bibtex", "main"], latex, latex):
        ended = subprocess.run(words, cwd=tmp_path / "paper", capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stdout[-2000:]
    log = (tmp_path / "paper/main.log").read_text(errors="replace")
    assert "undefined" not in log
    assert [wide for wide in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(wide) > 10] == []
