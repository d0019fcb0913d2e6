"""`oneclock check`: the templates pass, a cheat fails with what to do, and what a terminal, a pipe and CI get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.cli_kit import Command
from kit.new_kit import EXAMPLES, all_known, create_examples

from harness.check.outcome import CheckState, conclude, not_applicable, run_check
from harness.cli.check import outcome_lines, summary_line


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a package of every part, which this process knows."""
    folder = tmp_path_factory.mktemp("new")
    create_examples(folder)
    with all_known(folder) as site:
        yield site


@pytest.mark.slow
@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("part", EXAMPLES)
def test_the_template_of_every_part_passes(command: Command, part: str) -> None:
    said = command("check", EXAMPLES[part], "--json")
    found = json.loads(said.out)
    assert said.code == 0, [one for one in found["checks"] if one["state"] == "fail"]
    assert (found["method"], found["part"], found["passed"]) == (EXAMPLES[part], part, True)
    assert sum(one["state"] == "pass" for one in found["checks"]) >= 10


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["eulr"], 'method "eulr" is unknown'),
        (["few-step"], "expected denoiser/few-step or schedule/few-step"),
        (["ddim", "--set", "eta=1"], 'has no parameter "eta"'),
        (["ddim", "--network", "unet-9"], 'zoo network "unet-9" is unknown'),
        (["ddim", "--steps", "0"], "--steps is 0"),
        ([], "method"),
    ],
)
def test_a_usage_error_is_one_sentence_and_exit_code_2(command: Command, words: list[str], told: str) -> None:
    said = command("check", *words)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert said.err.startswith("oneclock: ")


# What is printed.

FAILED = conclude(False, "1.02 on gaussian-mixture", "2, as order says, or more", "look for a wrong level in the step")


def test_a_terminal_gets_lines_of_its_width_with_what_to_do() -> None:
    outcome = run_check(lambda: FAILED, name="order")
    assert list(outcome_lines(outcome, 60)) == [
        "FAIL  order                     1.02 on gaussian-mixture;",
        "                                expected 2, as order says,",
        "                                or more",
        "      to do: look for a wrong level in the step",
    ]


def test_a_pipe_gets_one_line_of_cells() -> None:
    (line,) = outcome_lines(run_check(lambda: FAILED, name="order"), None)
    cells = [cell.strip() for cell in line.split("\t")]
    assert cells == ["FAIL", "order", FAILED.found, FAILED.expected, FAILED.to_do]


def test_the_last_line_counts() -> None:
    passed, absent = conclude(True, "all", "all", ""), not_applicable("it is prepared")
    assert summary_line([passed, passed, absent], 12.4) == "2 passed, 1 not applicable in 12 s"
    assert summary_line([passed, FAILED], 0.6) == "1 passed, 1 FAILED in 1 s"
    assert passed.state is CheckState.passed
