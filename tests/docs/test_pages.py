"""Every example of the documentation works: files are written, Python is run, commands are typed, page by page."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
from kit.docs_kit import DOCS, ROOT, Fence, PageRunner, check_output, commands, fences, pages

from harness.cli.app import app

LANGUAGES = {"python", "toml", "console", "text", "diff"}
"""Text is prose; a diff is applied by test_metric.py."""
RUN = {"python", "toml", "console"}


def named(page: Path) -> str:
    return str(page.relative_to(DOCS))


def with_blocks(*tests: str) -> list[Path]:
    """Return the pages with a block that runs and is marked so."""
    return [page for page in pages() if any(f.language in RUN and f.test in tests for f in fences(page))]


@pytest.mark.parametrize("page", with_blocks(""), ids=named)
def test_the_examples_of_a_page_work(page: Path, page_runner: PageRunner) -> None:
    for fence in fences(page):
        if not fence.test:
            page_runner.run(fence)


@pytest.mark.slow
@pytest.mark.parametrize("page", with_blocks("slow"), ids=named)
def test_the_long_examples_of_a_page_work_too(page: Path, page_runner: PageRunner) -> None:
    for fence in fences(page):
        if fence.test != "no":
            page_runner.run(fence)


@pytest.mark.parametrize("page", pages(), ids=named)
def test_blocks_are_of_known_kinds(page: Path) -> None:
    assert page.read_text(encoding="utf-8").count("```") == 2 * len(fences(page))
    assert {fence.language for fence in fences(page)} <= LANGUAGES
    assert {fence.test for fence in fences(page)} <= {"", "slow", "no"}


@pytest.mark.parametrize("page", [page for page in pages() if fences(page)], ids=named)
def test_commands_parse_and_fragments_are_toml(page: Path) -> None:
    for fence in fences(page):
        if fence.language == "toml":
            tomllib.loads(fence.text)
        elif fence.language == "console":
            for line, _ in commands(fence.text):
                check_command(line)


def spans(text: str) -> list[str]:
    """Return what stands between backticks in a page's prose."""
    prose = re.sub(r"<!--.*?-->|^```.*?^```", "", text, flags=re.M | re.S)
    return [span.strip("`") for span in re.findall(r"`[^`\n]+`", prose)]


@pytest.mark.parametrize("page", pages(), ids=named)
def test_verbs_and_targets_in_prose_exist(page: Path) -> None:
    found = [span for span in spans(page.read_text(encoding="utf-8")) if re.match(r"(oneclock|make) [a-z]", span)]
    for span in found:
        check_verb(span)


def check_verb(span: str) -> None:
    """Raise unless the verb, or the target of make, exists, whatever follows."""
    words = span.split()
    if words[0] == "make":
        return check_command(span)
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    while known is not None:
        command, words = known[words[1]], words[1:]
        known = getattr(command, "commands", None) if len(words) > 1 else None
    return None


def check_command(line: str) -> None:
    """Raise unless a verb with these options, or a target of make, exists."""
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), line
    if words[0] != "oneclock":
        return
    command, words = typer.main.get_command(app), words[1:]
    while (known := getattr(command, "commands", None)) is not None:
        command, words = known[words[0]], words[1:]
    command.make_context("oneclock", words)


def test_a_command_that_does_not_exist_is_found() -> None:
    check_command("oneclock export schedule unet-8:ddim-5 --format json")
    check_command("make docs")
    check_verb("oneclock new")
    check_verb("oneclock export schedule TRIAL")
    with pytest.raises(KeyError):
        check_verb("oneclock export nothing")
    with pytest.raises(KeyError):
        check_command("oneclock nothing")
    with pytest.raises(Exception, match="No such option"):
        check_command("oneclock run quick --nothing")
    with pytest.raises(AssertionError):
        check_command("make nothing")


def test_what_is_not_printed_is_found() -> None:
    check_output("one two\nthree  four 5.1 s\n", ["one two", "three four ... s"], "$")
    with pytest.raises(AssertionError, match="expected 'two one'"):
        check_output("one two\n", ["two one"], "$")
    with pytest.raises(AssertionError, match="expected 'one'"):
        check_output("one\ntwo\n", ["two", "one"], "$")


def test_a_block_that_fails_fails_its_page(page_runner: PageRunner) -> None:
    page_runner.run(Fence(1, "", "python", "", "here = 1"))
    with pytest.raises(AssertionError):
        page_runner.run(Fence(2, "", "python", "", "assert here == 2"))
    with pytest.raises(AssertionError):
        page_runner.run(Fence(3, "", "console", "", "$ oneclock ls methods\na method of this name is in no list"))
    with pytest.raises(AssertionError, match="unknown"):
        page_runner.run(Fence(4, "", "console", "", "$ oneclock plan nothing"))


def test_marks_titles_and_included_files_are_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '<!-- test: slow -->\n```python title="a.py"\n--8<--\nmy_euler.py\n--8<--\n```\n\n```console\n$ ls\n```\n'
    )
    first, second = fences(page)
    assert (first.test, first.language, first.title) == ("slow", "python", "a.py")
    assert "class MyEuler(Solver)" in first.text
    assert (second.test, second.text) == ("", "$ ls\n")
