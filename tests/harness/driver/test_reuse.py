"""What a run takes over from earlier ones: finished tasks, shared preparations, the tasks of a run that died."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from kit import toys
from kit.toy_runs import Run
from kit.toys import CountingPool, suite_file, trial

from harness.storage.store import Store


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the toy that is prepared; nothing is prepared yet."""
    monkeypatch.setattr(toys.Searched, "prepared", [])
    with toys.registered(toys.Searched):
        yield


def test_a_second_run_starts_no_task(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, trial(solver="heun", steps=2))
    first = Run(suite, tmp_path)
    again = Run(suite, tmp_path)
    assert again.kinds == {}
    pd.testing.assert_frame_equal(again.tables.trials, first.tables.trials)


def test_a_changed_suite_computes_only_what_is_new(tmp_path: Path) -> None:
    Run(suite_file(tmp_path), tmp_path)
    more = Run(suite_file(tmp_path, trial(steps=3)), tmp_path)
    assert more.kinds == {"sample": 1, "score": 1, "time": 1}
    assert {u.label for u in more.pool.started if u.task.kind == "sample"} == {"sample analytic:ddim-3 [0, 40)"}


def test_more_images_are_scored_though_the_features_of_the_first_were_let_go(tmp_path: Path) -> None:
    suite = suite_file(tmp_path)
    first = Run(suite, tmp_path, settings=["n_images=100"]).row("ddim")
    more = Run(suite, tmp_path, settings=["n_images=150"]).row("ddim", n_images=150)
    assert more["verdict"] == "VALID"
    fresh = Run(suite, tmp_path / "fresh", settings=["n_images=150"]).row("ddim")
    assert more["images_sha256"] == fresh["images_sha256"] != first["images_sha256"]
    assert more["fid"] == fresh["fid"]


def test_images_are_the_same_however_they_are_cut_into_shards(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, top="")
    alone = Run(suite, tmp_path, settings=["n_images=130"])
    assert alone.kinds["sample"] == 3  # 50 + 50 + 30
    assert alone.row("ddim")["verdict"] == "VALID"


@pytest.mark.usefixtures("searched")
def test_a_preparation_is_made_once_shared_and_reaches_the_part(tmp_path: Path) -> None:
    trials = trial(schedule="toy-searched", steps=2) + trial(schedule="toy-searched", solver="heun", steps=2)
    run = Run(suite_file(tmp_path, trials), tmp_path)
    assert run.kinds["prepare"] == 1
    assert toys.Searched.prepared == [2]
    row, other = run.row("ddim@toy-searched"), run.row("heun@toy-searched")
    assert row["verdict"] == other["verdict"] == "VALID"
    assert row["images_sha256"] == run.row("ddim")["images_sha256"]  # the levels found are EDM's
    assert row["prepare_flops"] == 2 * 8**3
    assert row["prepare_seconds"] == other["prepare_seconds"] > 0
    assert run.row("ddim")["prepare_seconds"] == 0
    Run(suite_file(tmp_path, trials + trial(schedule="toy-searched", steps=3)), tmp_path)
    assert toys.Searched.prepared == [2, 3]


@pytest.mark.parametrize("results", range(1, 7))
def test_a_run_that_dies_keeps_its_finished_tasks(tmp_path: Path, results: int) -> None:
    def die() -> None:
        raise RuntimeError("the driver was killed")

    suite = suite_file(tmp_path, trial(steps=3))
    dead = CountingPool(results, die)
    with pytest.raises(RuntimeError, match="killed"):
        Run(suite, tmp_path, dead)
    rest = Run(suite, tmp_path)
    finished = {unit.key for unit in dead.started[:results]}
    assert not finished & {unit.key for unit in rest.pool.started}
    assert len(rest.pool.started) == 7 - results
    assert rest.tables.all_valid
    assert set(rest.tables.trials["attempt"]) == {1}
    assert Store(rest.tables.folder).check() == []
