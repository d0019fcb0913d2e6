"""The files of a paper, from made-up tables."""

from __future__ import annotations

import math
import re

import pytest
from kit import tables
from kit.paper_kit import check_latex, paper, paper_of, texts, with_targets
from pandas import DataFrame

from harness.errors import UsageError
from harness.report.paper.latex_table import PAGE_INCHES, latex_table
from harness.report.paper.number_macros import macro_letters
from harness.report.paper.paper_files import MARK, Paper, PaperChoice
from harness.report.paper.paper_table import PaperColumn, PaperLine, PaperTable
from harness.report.tables.cells import Cell


@pytest.fixture(scope="module")
def made() -> Paper:
    return paper(drawn=True)


def test_it_has_every_file_and_main_reads_each(made: Paper) -> None:
    names = set(made.files)
    assert {"main.tex", "numbers.tex", "methods.tex", "references.bib", "reproduce.sh"} <= names
    assert {"tables/pivot.tex", "tables/time-to-quality.tex", "tables/pivot-parallel-2.tex"} <= names
    main = texts(made)["main.tex"]
    assert main.startswith(f"% {MARK}\n")
    for name in names:
        stem = name.removesuffix(".tex").removesuffix(".bib")
        assert f"{{{stem}}}" in main or name in ("main.tex", "reproduce.sh"), name
    assert {f"figures/{kind}-{width}.pdf" for kind in ("fid-evaluations", "fid-time", "time-to-quality")
            for width in ("column", "page")} <= names  # fmt: skip


def test_all_latex_closes_and_is_ascii(made: Paper) -> None:
    for name, text in texts(made).items():
        if name.endswith(".tex"):
            check_latex(text)


def test_figures_are_as_wide_as_a_column_and_a_page_and_have_no_date(made: Paper) -> None:
    for width, points in (("column", 237.6), ("page", 496.8)):
        data = made.files[f"figures/fid-time-{width}.pdf"]
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", data)
        assert box is not None
        assert abs(float(box[1]) - points) < 0.5
        assert b"CreationDate" not in data
        assert b"/Type3" not in data


@pytest.mark.parametrize("seed", [1, 2])
def test_the_bytes_do_not_depend_on_the_order_of_rows(made: Paper, seed: int) -> None:
    assert paper(seed=seed, drawn=True).files == made.files


def test_rows_that_are_not_valid_are_in_no_table_and_are_named(made: Paper) -> None:
    text = texts(made)
    for name in ("missing", "ddsm"):
        assert not any(name in text[one] for one in text if one.startswith("tables/"))
    assert "MissingU" not in text["numbers.tex"]
    assert any("missing-u-12: nan-samples: 3 images" in one for one in made.remarks)
    assert "nan{-}samples: 3 images" in text["methods.tex"]


def test_the_baseline_is_marked_and_stays(made: Paper) -> None:
    assert "ddim (baseline) &" in texts(made)["tables/pivot.tex"]
    short = texts(paper(choice=PaperChoice(top=1)))["tables/pivot.tex"]
    assert "ddim (baseline) &" in short
    assert short.count(r" \\" + "\n") == 2 + 2  # two lines of headings, the best method and the baseline
    assert "7 further lines are not shown." in short


def test_what_is_reached_at_the_smallest_step_count_is_a_bound(made: Paper) -> None:
    table = texts(made)["tables/time-to-quality.tex"]
    assert r"$\leq$\oneclockinterval" in table or r"$\leq$ " in table
    assert r"$\leq$: reached at the smallest step count" in table


def test_columns_are_chosen_in_order() -> None:
    text = texts(paper(choice=PaperChoice(columns=("method", "fid_20", "fid_5", "rank_10"))))
    assert text["tables/pivot.tex"].count("Method & 20 & 5 ") == 1
    assert "Method & rank " in text["tables/time-to-quality.tex"]


def test_a_column_that_no_table_has_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r'--columns has "fid_6"; expected words of: method, .*fid_5'):
        paper(choice=PaperChoice(columns=("fid_6",)))


@pytest.mark.parametrize("word", ["time", "rank_10"])
def test_a_time_of_a_suite_without_targets_is_refused_with_what_would_give_it(word: str) -> None:
    with pytest.raises(UsageError, match=rf'--columns has "{word}", and no time to a FID was read; .* quality.targets'):
        paper(lambda table: table, choice=PaperChoice(columns=("fid", word)))


def test_times_of_a_suite_whose_targets_no_method_reaches_are_no_table_and_no_error() -> None:
    made = paper(lambda table: table.assign(fid_targets="[0.001]"), choice=PaperChoice(columns=("fid", "time")))
    assert "tables/time-to-quality.tex" not in made.files
    assert any("time per image to a FID" in one and "no method reaches a target" in one for one in made.remarks)
    assert "time-to-quality" not in texts(made)["main.tex"]


def test_a_wide_table_takes_the_page_and_a_narrow_one_the_column() -> None:
    wide, narrow = texts(paper()), texts(paper(choice=PaperChoice(columns=("fid_5", "time_10"))))
    assert r"\begin{table*}" in wide["tables/time-to-quality.tex"]
    assert r"\begin{table}" in narrow["tables/pivot.tex"]
    assert r"\begin{table}" in narrow["tables/time-to-quality.tex"]


def test_every_work_that_is_cited_is_in_the_references(made: Paper) -> None:
    text = texts(made)
    cited = {key for found in re.findall(r"\\cite\{([^}]*)\}", text["methods.tex"]) for key in found.split(",")}
    known = set(re.findall(r"@misc\{([^,]+),", text["references.bib"]))
    assert cited == known
    assert {"oneclock", "song2021implicit", "zhao2023unipc", "selvam2024srds", "data1", "heusel2017gans"} == known
    assert r"{a tool \& its figures}" in text["references.bib"]
    assert r"50 \%" in text["references.bib"]


def test_every_macro_is_letters_alone_and_has_its_row(made: Paper) -> None:
    lines = [line for line in texts(made)["numbers.tex"].splitlines() if not line.startswith("%")]
    found = [re.fullmatch(r"\\newcommand\{\\([A-Za-z]+)\}\{(-?[\d.e+-]+)\}% (.+)", line) for line in lines]
    assert all(found)
    names = [one[1] for one in found if one]
    assert len(names) == len(set(names)) > 100
    assert r"\newcommand{\ocNfeUnetSmallDdimTwoZero}{20}% network evaluations per image: unet-small:ddim-20" in lines
    assert macro_letters("unet-16:dpmpp-2m@few-step") == "UnetOneSixDpmppTwoMFewStep"


def test_names_that_become_one_stay_apart() -> None:
    def twins(table: DataFrame) -> DataFrame:
        return with_targets(table.replace({"method": {"ddim karras": "dd-im", "ddim logsnr": "dd/im"}}))

    numbers = texts(paper(twins))["numbers.tex"]
    for name in ("ocFidUnetSmallDdImFive", "ocFidUnetSmallDdImFiveX"):
        assert rf"\newcommand{{\{name}}}" in numbers


def test_without_targets_there_is_no_time_to_quality() -> None:
    made = paper(lambda table: table)
    assert "tables/time-to-quality.tex" not in made.files
    assert any("the suite names no FID targets" in one for one in made.remarks)


def test_the_paragraph_has_its_conditions(made: Paper) -> None:
    text = texts(made)["methods.tex"]
    conditions = (
        "$N$ = 1,797", "digits{-}cnn:pool", "1,437 images", "Example CPU (1 thread)", "PyTorch 2.15.0", "0" * 40,
        "float32", "at batch 64", "the rows do not record which rules were tried",
    )  # fmt: skip
    assert [words for words in conditions if words not in text] == []


def test_the_script_runs_each_suite_at_its_commit_with_its_settings() -> None:
    choice = PaperChoice(shipped_suites=("quick",))
    script = texts(paper(choice=choice))["reproduce.sh"]
    assert script.startswith("#!/bin/sh\n")
    assert f"git checkout --quiet {'0' * 40}\nmake benchmark SUITE=quick\n" in script
    own = texts(paper(choice=PaperChoice(settings=("n_images=500", "a='b c'"))))["reproduce.sh"]
    assert """python -m harness run "${SUITE_FILE:?expected""" in own
    assert """--set n_images=500 --set 'a='"'"'b c'"'"''\n""" in own


def test_the_script_wants_methods_from_elsewhere_before_it_runs_anything_of_theirs() -> None:
    choice = PaperChoice(shipped_suites=("quick",), plug_ins=("my-hold", "my-levels"))
    script = texts(paper(choice=choice))["reproduce.sh"]
    assert "# not part of oneclock: my-hold, my-levels; PLUG_INS is" in script
    assert (
        0
        < script.index("make install")
        < script.index('"${PLUG_INS:?expected the folder')
        < script.index("SUITE=quick")
    )
    assert "PLUG_INS" not in texts(paper(choice=PaperChoice(shipped_suites=("quick",))))["reproduce.sh"]


def test_no_text_of_a_row_is_code() -> None:
    bad = "x\nrm -rf / \\input{/etc/passwd} $x^2$ % & # _ {"

    def change(table: DataFrame) -> DataFrame:
        bad_columns = dict.fromkeys(("device_name", "suite", "network", "dataset", "weights", "git_sha"), bad)
        return with_targets(table.assign(**bad_columns, method=table["method"] + bad))

    text = texts(paper(change))
    for name, one in text.items():
        if name.endswith(".tex"):
            check_latex(one)
            assert r"\input{/etc" not in re.sub(r"(?<!\\)%.*", "", one)
    assert not re.search(r"^rm ", text["reproduce.sh"], re.MULTILINE)


@pytest.mark.parametrize("column", ["n_images", "devices", "nfe", "steps", "fid_low", "speedup", "reference_n"])
def test_odd_numbers_are_no_crash(column: str) -> None:
    for value in (math.nan, -1.0):
        source = tables.tables(with_targets)
        odd = source["trials"][column].astype("float64")
        source["trials"][column] = odd.where(odd.index > 2, value)
        text = texts(paper_of(source))
        check_latex(text["tables/pivot.tex"])
        assert not re.search(r"\{nan\}", text["numbers.tex"])


def test_a_table_wider_than_a_page_says_by_how_much_it_shrinks() -> None:
    columns = tuple(PaperColumn(f"fid_{n}", "fid", "FID at evaluations", str(n)) for n in range(20))
    cells = tuple(Cell("12.3 [11.2, 13.4]") for _ in columns)
    made = latex_table(PaperTable("wide", "T", columns, (PaperLine("a:b", "a", Cell("a:b"), cells),), ""), "here")
    assert made.is_wide
    assert made.inches > PAGE_INCHES
    assert 0.5 < made.shrinks_to < 1
    assert r"\oneclockinterval{12.3}{11.2}{13.4}" in made.text


def test_words_of_a_cell_are_short_and_explained() -> None:
    column = PaperColumn("time_2", "time", "FID 2", "ms")
    texts = ("not reached, best FID 9", "reached in 2 of 3 trainings", "1.5× [1.2, –]", "≤ 0.7")
    lines = tuple(PaperLine(text, "a", Cell(text), (Cell(text, notes=("why",)),)) for text in texts)
    made = latex_table(PaperTable("t", "T", (column,), lines, ""), "here").text
    for words in (
        "& not reached\\,\\textsuperscript{a} ", "& in 2 of 3\\,\\textsuperscript{a} ", "& $\\leq$ 0.7",
        r"\oneclockinterval{1.5}{1.2}{\mbox{--}}", "In 2 of 3: reached in so many of the trainings.",
        r"\textsuperscript{a} why.",
    ):  # fmt: skip
        assert words in made, words
