"""`oneclock check`: the templates pass, a cheat fails with what to do, and what a terminal, a pipe and CI get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import check_toys
from kit.cli_kit import Command
from kit.faulty import known_here
from kit.new_kit import EXAMPLES, all_known, create_examples

from harness.check import small_suites
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


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process knows the toys; suites have few images and are timed for a moment."""
    monkeypatch.setattr(small_suites, "TRAINED_TIER", "smoke")
    monkeypatch.setattr(small_suites, "TRAINED_IMAGES", 300)
    monkeypatch.setattr(small_suites, "EXACT_IMAGES", 100)
    with known_here(check_toys.register_toys(tmp_path / "site")):
        yield


@pytest.mark.usefixtures("small")
def test_what_depends_on_its_batch_fails_with_what_to_do_and_exit_code_1(command: Command) -> None:
    said = command("check", "toy-batch-mean", "--steps", "4")
    lines = [[cell.strip() for cell in line.split("\t")] for line in said.out.splitlines()]
    assert said.code == 1
    assert lines[0][0].startswith("solver toy-batch-mean, 4 steps on unet-8 (digits), with denoiser full, schedule edm")
    cells = {line[1]: line for line in lines[1:-1]}
    assert cells["batch-independence"][0] == "FAIL"
    assert cells["batch-independence"][4].startswith("compute each row of a batch from that row alone")
    assert cells["step"][0] == cells["two-workers"][0] == cells["no-network-calls"][0] == "pass"
    assert " FAILED in " in lines[-1][0]
    assert "expected" not in said.err


@pytest.mark.usefixtures("small")
def test_what_raises_fails_and_what_cannot_be_checked_then_is_not_applicable(command: Command) -> None:
    said = command("check", "toy-breaks", "--steps", "4", "--json")
    found = json.loads(said.out)
    states = {one["name"]: one["state"] for one in found["checks"]}
    assert (said.code, found["passed"]) == (1, False)
    assert states["parameters"] == "pass"
    assert states["step"] == states["runs-on-exact-data"] == states["runs-on-digits"] == "fail"
    assert states["two-workers"] == "n/a"
    run = next(one for one in found["checks"] if one["name"] == "runs-on-digits")
    assert "one step is broken" in run["found"]
    assert run["to_do"]


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
