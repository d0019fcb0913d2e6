"""Searches: their jobs are tasks of their own, done once, shared, taken up again after a kill, and paid for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kit import toys
from kit.toys import CountingPool, suite_file, trial

import harness
from harness.specs.prepare import PrepareSpec
from harness.storage.blobs import Blobs
from harness.task import Task

FLOPS = 4 * 16  # of one evaluation of the toy suite's network


@pytest.fixture(autouse=True)
def searching() -> Iterator[None]:
    with toys.registered(toys.Ladder, toys.Level, toys.Reads, toys.Searched, toys.Climbs, toys.Raises):
        yield


def ladder(name: str = "toy-ladder", label: str = "mine", **params: Any) -> str:
    """Return a trial of the toy that searches."""
    inside = ", ".join(f"{key} = {json.dumps(value)}" for key, value in params.items())
    entry = trial(steps=2, label=label)
    return entry + f'denoiser = {{ name = "{name}"{", " if inside else ""}{inside} }}\n'


def run(suite: str, results: Path, pool: CountingPool | None = None) -> tuple[Any, CountingPool]:
    pool = pool or CountingPool()
    return harness.run(suite, pool=lambda: pool, results=results, report=False), pool


def jobs(pool: CountingPool) -> list[int]:
    """Return the numbers of the jobs that were started, in order."""
    return [spec.job["number"] for spec in preparations(pool) if spec.job is not None]


def tasks(pool: CountingPool) -> list[Task]:
    """Return the tasks whose units were started, in order."""
    return [unit.task for unit in pool.started]


def preparations(pool: CountingPool) -> list[Any]:
    """Return the specs of the preparations and jobs that were started, in order."""
    return [unit.task.spec for unit in pool.started if unit.task.kind == "prepare"]


def prepared(pool: CountingPool, method: str) -> Task:
    """Return the task that prepared a method."""
    return next(t for t in tasks(pool) if isinstance(t.spec, PrepareSpec) and t.spec.method.name == method)


def row(tables: Any, method: str = "mine") -> pd.Series:
    return tables.trials[tables.trials["method"] == method].iloc[0]


def test_a_search_asks_round_by_round_and_concludes_from_all_of_it_in_order(tmp_path: Path) -> None:
    tables, pool = run(suite_file(tmp_path, ladder(target=2)), tmp_path)
    assert jobs(pool) == [0, 1, 2, 12]
    conclusions = [task for task in tasks(pool) if isinstance(task.spec, PrepareSpec) and task.spec.job is None]
    assert len(conclusions) == 1
    labels = [task.label for task in tasks(pool) if isinstance(task.spec, PrepareSpec) and task.spec.job is not None]
    counted = ["1 of 3", "2 of 3", "3 of 3", "4 of 4"]
    assert labels == [f"prepare toy-ladder for analytic:mine-2, search job {count}" for count in counted]
    tensors, facts = Blobs(tmp_path / "zoo").get(conclusions[0].id) or ({}, {})
    assert tensors["squares"].tolist() == [0, 1, 4, 144]
    assert facts["artifact"]["units"] == {"0": {"network": 20}, "1": {"network": 20}}
    found = tables.searches[tables.searches["trial_id"] == row(tables)["trial_id"]].sort_values("objective")
    assert found["part"].tolist() == ["denoiser"] * 4
    assert [json.loads(c)["number"] for c in found["candidate_json"]] == [2, 1, 0, 12]
    assert found["is_chosen"].tolist() == [False, False, False, True]
    assert set(found["flops_per_image"]) == {2 * FLOPS}
    assert row(tables)["verdict"] == "VALID"


def test_a_preparation_pays_for_its_jobs(tmp_path: Path) -> None:
    tables, _ = run(suite_file(tmp_path, ladder()), tmp_path)
    assert row(tables)["prepare_flops"] == 4 * 20 * 2 * FLOPS
    assert row(tables)["prepare_seconds"] > 0


def test_candidates_are_scored_on_noise_that_no_scored_image_has(tmp_path: Path) -> None:
    tables, _ = run(suite_file(tmp_path, ladder()), tmp_path)
    fids = set(tables.searches["fid"])
    assert len(fids) == 1  # the toy's candidates are all the same sampler on the same noise
    assert fids != {row(tables)["fid"]}


def test_searches_share_the_jobs_that_they_both_ask_for(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, ladder(target=2) + ladder(target=1, label="other"))
    tables, pool = run(suite, tmp_path)
    assert sorted(jobs(pool)) == [0, 1, 2, 11, 12]
    assert tables.all_valid
    assert row(tables)["prepare_flops"] == row(tables, "other")["prepare_flops"]


def test_what_a_job_depends_on_is_not_shared(tmp_path: Path) -> None:
    other = trial(steps=3, denoiser="toy-ladder") + trial(steps=2, denoiser="toy-ladder", solver="heun")
    _, pool = run(suite_file(tmp_path, ladder() + other), tmp_path)
    assert len(jobs(pool)) == 12


def test_a_search_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def die() -> None:
        raise KilledError

    suite = suite_file(tmp_path, ladder(target=2))
    dying = CountingPool()
    seen: list[int] = []
    for dies_after in range(1, 30):
        dying = CountingPool(dies_after, die)
        try:
            run(suite, tmp_path, dying)
        except KilledError:
            seen += jobs(dying)[: dying.results]
            if len(jobs(dying)) >= 2:
                break
    assert 0 < len(jobs(dying)) < 4
    tables, pool = run(suite, tmp_path)
    finished = set(jobs(dying)[:-1])
    assert finished
    assert not finished & set(jobs(pool))
    assert finished | set(jobs(pool)) | set(seen) == {0, 1, 2, 12}
    assert tables.all_valid
    _, again = run(suite, tmp_path)
    assert again.started == []


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [({"cannot_do": 1}, "the toy cannot do this"), ({"asks_wrongly": True}, "the toy asks wrongly")],
)
def test_a_search_fails_with_its_job_and_takes_nothing_else_along(
    tmp_path: Path, fault: dict[str, Any], sentence: str
) -> None:
    tables, _ = run(suite_file(tmp_path, ladder(**fault) + ladder(target=2, label="other")), tmp_path)
    assert row(tables)["status"] == "failed"
    assert row(tables)["reasons"].startswith(f"failed(ValueError): {sentence} (toys.py, line ")
    assert row(tables, "other")["verdict"] == "VALID"
    assert row(tables, "ddim")["verdict"] == "VALID"


def test_a_preparation_starts_from_the_artifact_of_another_and_pays_for_both(tmp_path: Path) -> None:
    tables, pool = run(suite_file(tmp_path, ladder("toy-climbs") + ladder(target=2, label="other")), tmp_path)
    assert jobs(pool) == [0, 1, 2, 12]
    climbing = prepared(pool, "toy-climbs")
    _, facts = Blobs(tmp_path / "zoo").get(climbing.id) or ({}, {})
    assert facts["artifact"] == {"squares": [0, 1, 4, 144]}
    assert row(tables)["prepare_flops"] == row(tables, "other")["prepare_flops"] > 0


def test_jobs_are_shared_by_trials_that_differ_in_what_jobs_do_not_depend_on(tmp_path: Path) -> None:
    def at(steps: int, solver: str = "ddim") -> str:
        return trial(steps=steps, solver=solver, denoiser="toy-level-ladder")

    _, pool = run(suite_file(tmp_path, at(2) + at(3) + at(2, "heun")), tmp_path)
    conclusions = [task for task in tasks(pool) if isinstance(task.spec, PrepareSpec) and task.spec.job is None]
    assert (len(conclusions), len(jobs(pool))) == (3, 8)


@pytest.mark.parametrize("schedule", ["toy-searched", "arctan"])
def test_a_preparation_reads_the_levels_of_a_schedule_and_what_preparing_it_left(tmp_path: Path, schedule: str) -> None:
    entry = trial(steps=2, denoiser="toy-reads", schedule=schedule)
    tables, pool = run(suite_file(tmp_path, entry), tmp_path)
    reading = prepared(pool, "toy-reads")
    _, facts = Blobs(tmp_path / "zoo").get(reading.id) or ({}, {})
    steps = tables.steps[tables.steps["trial_id"] == row(tables, f"toy-reads/ddim@{schedule}")["trial_id"]]
    levels = [*steps.sort_values("step")["sigma"], steps["sigma_next"].min()]
    assert facts["artifact"] == {"levels": levels, "prepared": levels if schedule == "toy-searched" else None}
