"""The report shows what was asked for last: every other row is kept, is named apart, and ranks nowhere."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from kit.toys import CountingPool, suite_file, trial

import harness
from harness import api
from harness.errors import StoreDamagedError
from harness.storage.planned import PLANNED, read_planned, read_title, write_planned
from harness.storage.store import Store

ONE, TWO = "1" * 64, "2" * 64


def run(suite: str, results: Path, **options: object) -> api.Tables:
    return harness.run(suite, pool=CountingPool, results=results, **options)  # type: ignore[arg-type]


def ranked(tables: api.Tables) -> set[str]:
    """Return the trials that leaderboard.csv holds."""
    with (tables.folder / "leaderboard.csv").open() as stream:
        return {row["trial_id"] for row in csv.DictReader(stream)}


def test_a_plan_is_kept_and_read_back(tmp_path: Path) -> None:
    assert read_planned(tmp_path) is None
    for ids in ((TWO, ONE), (ONE,), ()):
        write_planned(tmp_path, ids)
        assert read_planned(tmp_path) == ids
    assert [path.name for path in tmp_path.iterdir()] == [PLANNED]


def test_the_title_of_the_suite_is_kept_with_its_plan(tmp_path: Path) -> None:
    assert read_title(tmp_path) == ""
    write_planned(tmp_path, (ONE,), "Digits, by night")
    assert read_title(tmp_path) == "Digits, by night"
    assert read_planned(tmp_path) == (ONE,)
    for text in ("", "[]", '{"trials": []}', '{"title": 3}'):
        (tmp_path / PLANNED).write_text(text)
        assert read_title(tmp_path) == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trials": 3}', '{"trials": ["../x"]}', '{"trials": [1]}', "\xff"])
def test_a_damaged_plan_is_said_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / PLANNED).write_text(text)
    with pytest.raises(StoreDamagedError, match=r"planned\.json cannot be read .*; expected the trials of the latest"):
        read_planned(tmp_path)


def test_rows_of_the_settings_before_are_back_when_these_are_asked_for_again(tmp_path: Path) -> None:
    """Nothing is computed the third time, and nothing but what was asked for is shown."""
    suite = suite_file(tmp_path, trial(steps=4))
    first = run(suite, tmp_path)
    other = run(suite, tmp_path, settings=["batch=5"])
    assert set(first.trials["trial_id"]).isdisjoint(other.trials["trial_id"])
    assert set(other.others["trial_id"]) == set(first.trials["trial_id"])
    assert ranked(other) == set(other.trials["trial_id"])
    again = run(suite, tmp_path)
    assert set(again.trials["trial_id"]) == set(first.trials["trial_id"]) == ranked(again)
    assert set(again.others["trial_id"]) == set(other.trials["trial_id"])
    assert len(Store(again.folder).snapshot().entries) == len(first.trials) + len(other.trials)
    page = (again.folder / "report.html").read_text()
    assert "Rows that are not of this plan" in page
    assert "Rows that are not of this plan" in (again.folder / "leaderboard.md").read_text()


@pytest.mark.parametrize("setting", ["timing.batch=4", "baseline.clock_steps=4", "n_images=30", "seed_sets=[7]"])
def test_other_settings_are_another_plan(tmp_path: Path, setting: str) -> None:
    suite = suite_file(tmp_path, trial(steps=4))
    first = run(suite, tmp_path)
    other = run(suite, tmp_path, settings=[setting])
    assert set(other.trials["trial_id"]) == set(other.planned)
    assert set(other.others["trial_id"]) == set(first.trials["trial_id"]) - set(other.planned)
    assert set(run(suite, tmp_path).trials["trial_id"]) == set(first.trials["trial_id"])


def test_seed_sets_that_are_no_longer_asked_for_are_not_averaged_in(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, trial(steps=4))
    three = run(suite, tmp_path, seeds=3)
    assert set(three.trials["seed_set"]) == {0, 1, 2}
    one = run(suite, tmp_path)
    assert set(one.trials["seed_set"]) == {0}
    assert set(one.others["seed_set"]) == {1, 2}


def test_two_suite_files_of_one_name_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = run(suite_file(tmp_path / "a", trial(steps=4)), tmp_path)
    second = run(suite_file(tmp_path / "b", trial(steps=6)), tmp_path)
    assert set(first.trials["steps"]) == {2, 4}
    assert set(second.trials["steps"]) == {2, 6}


def test_a_part_of_a_plan_leaves_the_rest_in_the_report(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, trial(solver="heun", steps=4))
    whole = run(suite, tmp_path)
    part = run(suite, tmp_path, only="heun*")
    assert len(part.planned) == 1
    assert set(part.trials["trial_id"]) == set(whole.trials["trial_id"])
    assert part.others.empty


def test_a_folder_of_before_shows_every_trial(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, trial(steps=4))
    first, other = run(suite, tmp_path), run(suite, tmp_path, settings=["batch=5"])
    (other.folder / PLANNED).unlink()
    loaded = harness.load(other.folder)
    assert len(loaded.trials) == len(first.trials) + len(other.trials)
    assert loaded.others.empty


def test_a_row_whose_claim_got_another_identity_is_written_again_and_nothing_else(tmp_path: Path) -> None:
    """What the claim is a control of is part of its identity; its own control keeps its own and must follow."""
    parts = [
        trial(solver="heun", steps=2),
        trial(solver="ddpm", steps=2, control_of="heun"),
        trial(solver="dpmpp-2m", steps=2, control_of="ddpm"),
    ]
    before = run(suite_file(tmp_path, "".join(parts)), tmp_path)
    pool = CountingPool()
    changed = suite_file(tmp_path, "".join([parts[0], trial(solver="ddpm", steps=2), parts[2]]))
    after = harness.run(changed, pool=lambda: pool, results=tmp_path)
    assert pool.kinds == {}
    ids = after.trials.set_index("method")["trial_id"]
    old = before.trials.set_index("method")["trial_id"]
    assert ids["ddpm"] != old["ddpm"]
    assert ids["dpmpp-2m"] == old["dpmpp-2m"]
    rows = after.trials.set_index("method")
    assert rows.loc["dpmpp-2m", "control_of_trial_id"] == ids["ddpm"]
    assert dict(rows["attempt"]) == {"ddim": 1, "heun": 1, "ddpm": 1, "dpmpp-2m": 2}
    assert after.all_valid
