"""The verbs over stored results, as a user calls them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from kit.cli_kit import Command
from kit.toys import suite_file, trial

from harness import api
from harness.cli.compare import parse_condition
from harness.errors import UsageError

REFERENCE = Path(__file__).resolve().parents[3] / "results/reference"


def test_the_leaderboard_is_that_of_the_report(command: Command) -> None:
    said = command("show", "quick", "--results", REFERENCE)
    assert said.code == 0
    assert (REFERENCE / "quick/summary.txt").read_text().splitlines()[0] in said.out
    pivot = pd.read_csv(REFERENCE / "quick/pivot.csv")
    assert all(name in said.out for name in pivot["name"])


def test_a_row_shows_its_figures_parts_controls_and_command(command: Command) -> None:
    said = command("show", REFERENCE / "quick", "adadiff-10")
    row = next(one for _, one in api.load(REFERENCE / "quick").trials.iterrows() if one["method"] == "adadiff")
    assert said.out.startswith("uvit-16:adadiff-10  VALID\n")
    assert f"{row['fid']:.3g} [{row['fid_low']:.3g}, {row['fid_high']:.3g}]" in said.out
    assert "theta = 0.05" in said.out
    assert "control " in said.out
    assert "uvit-16:whole-tuned-10: FID" in said.out
    assert f"samples/{row['trial_id']}.png\n" in said.out
    assert said.out.endswith("oneclock run quick --only uvit-16:adadiff-10\n")


def test_over_trainings_a_row_lists_its_trials(command: Command) -> None:
    said = command("show", "photos", "unet-16:ddim-10", "--results", REFERENCE)
    assert [f"training {k}" in said.out for k in range(3)] == [True] * 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "quik"), 'found no results "quik"; expected a suite that was run or a folder of results'),
        (("show", "quick", "nix"), 'trial "nix" is neither an id nor a name here'),
        (("compare", "quick"), "found 1 names; expected two results folders"),
        (("compare", "quick", "photos", "--fail-if", "fid=2"), '--fail-if is "fid=2"; expected one of fid, time'),
        (("compare", "quick", "ddim-10", "nix"), 'trial "nix" is neither'),
    ],
)
def test_what_is_not_there_is_one_sentence(command: Command, words: tuple[str, ...], sentence: str) -> None:
    said = command(*words, "--results", REFERENCE)
    assert said.code == 2
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_two_rows_and_the_condition_that_makes_it_fail(command: Command) -> None:
    words = ("compare", "quick", "unet-16:unipc-10", "unet-16:ddim-10", "--results", REFERENCE)
    said = command(*words)
    assert said.code == 0
    assert said.out.startswith("unet-16:unipc-10 -> unet-16:ddim-10\n")
    assert " shown" in said.out.splitlines()[1]

    failed = command(*words, "--fail-if", "fid > 1.05")
    assert failed.code == 1
    assert "--fail-if 'fid > 1.05' holds for unet-16:ddim-10" in failed.out
    assert command(*words, "--fail-if", "fid > 100").code == 0
    assert command(*words, "--fail-if", "flops > 1.01").code == 0  # equal steps of one network


def test_a_folder_compared_with_itself_has_no_difference(command: Command) -> None:
    said = command("compare", "quick", "quick", "--results", REFERENCE, "--fail-if", "fid > 1", "--fail-if", "time > 1")
    assert said.code == 0
    assert "FID lower 0, higher 0; faster 0, slower 0" in said.out


@pytest.mark.parametrize("text", ["fid", "kid > 1", "fid > x", "fid == 1"])
def test_another_condition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected one of fid"):
        parse_condition(text)


def test_two_folders_become_one_with_a_report(command: Command, finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    said = command("merge", finished, other, "--into", tmp_path / "both")
    assert (said.code, said.out.count("copied")) == (0, 2)
    assert (tmp_path / "both/report.html").is_file()
    assert set(api.load(tmp_path / "both").trials["trial_id"]) == set(api.load(finished).trials["trial_id"])
    assert "expected two or more" in command("merge", finished, "--into", tmp_path / "new").err


def test_stale_rows_are_listed_then_moved(command: Command, tmp_path: Path) -> None:
    for steps in (3, 4):
        command("run", suite_file(tmp_path, trial(steps=steps)), "--results", tmp_path)
    listed = command("prune", "toy", "--results", tmp_path)
    assert (listed.code, listed.out.count("analytic:ddim-3")) == (0, 1), listed.out
    assert len(api.load(tmp_path / "toy").others) == 1
    assert "moved 1 trials" in command("prune", "toy", "--stale", "--results", tmp_path).out
    assert api.load(tmp_path / "toy").others.empty
    assert command("prune", "toy", "--results", tmp_path).out == "no trial is of another plan\n"


def test_timed_again_a_trial_has_a_further_row_and_the_same_images(
    command: Command, suite: str, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results)
    before = api.load(results / "toy")
    said = command("retime", suite, "--results", results)
    after = api.load(results / "toy")
    assert said.code == 0
    assert list(after.trials["attempt"]) == [2] * len(before.trials)
    assert list(after.trials["images_sha256"]) == list(before.trials["images_sha256"])
    assert set(after.timings["attempt"]) == {1, 2}
    assert set(after.trials["latency_seconds"]) != set(before.trials["latency_seconds"])

    # the images were not made again
    starts = [line for line in (results / "toy/log.txt").read_text().splitlines() if " starts on" in line]
    assert sum(" sample " in line for line in starts) == sum(" score " in line for line in starts)
    assert sum(" time " in line for line in starts) == 2 * sum(" score " in line for line in starts)
