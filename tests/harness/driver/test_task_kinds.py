"""A new kind of task is one file of what goes in and out and one of what is done; nothing else knows of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kit import plan_kit
from kit.faulty import Ears
from kit.toy_kind import SumOutput, SumSpec
from kit.toys import CountingPool

from harness import sources
from harness.driver.loop import Engine
from harness.identity import spec_id
from harness.pools.pool import Pool
from harness.storage.blobs import Blobs
from harness.storage.store import Store
from harness.task import Task


def task(*numbers: float, before: Task | None = None, name: str = "sum") -> Task:
    spec = SumSpec(numbers=numbers, before=before.id if before else None, name=name)
    return Task(spec_id(spec), spec, f"add {len(numbers)} numbers")


def engine(folder: Path, pool: Pool, *tasks: Task) -> Engine:
    plan = replace(plan_kit.plan(), tasks={one.id: one for one in tasks})
    return Engine(plan, Store.create_or_open(folder / "mine"), folder, pool, Ears())


def test_it_runs_reads_results_of_its_like_and_is_kept_where_its_policy_says(tmp_path: Path) -> None:
    first = task(1.0, 2.0)
    second = task(0.5, before=first)
    made = engine(tmp_path, CountingPool(), first, second)
    made.finish_tasks([second.id])
    assert made.results.output(second.id) == SumOutput(
        total=3.5, task_seconds=made.results.output(second.id).task_seconds
    )
    assert {path.stem for path in (tmp_path / "zoo").glob("*.safetensors")} == {first.id, second.id}
    again = CountingPool()
    engine(tmp_path, again, first, second).finish_tasks([second.id])
    assert again.started == []


def test_it_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    wanted = task(*range(10))
    Blobs(tmp_path / "zoo").put_latest(f"{wanted.id[:48]}-partial", {"total": np.array([1000.0])}, {"step": 8})
    made = engine(tmp_path, CountingPool(), wanted)
    made.finish_tasks([wanted.id])
    assert made.results.output(wanted.id).model_dump()["total"] == 1000 + 8 + 9
    assert [path.stem for path in (tmp_path / "zoo").glob("*.safetensors")] == [wanted.id]


def test_its_values_and_its_code_decide_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert task(1.0).id == task(1.0, name="another").id
    assert task(1.0).id != task(2.0).id
    assert task(1.0, before=task(1.0)).id != task(1.0, before=task(2.0)).id
    before, real = task(1.0).id, Path.read_text

    def edited(path: Path, *how: str, **more: str) -> str:
        return real(path, *how, **more) + ("CHANGED = 1\n" if path.stem == "toy_kind_task" else "")

    sources.clear_caches()
    monkeypatch.setattr(Path, "read_text", edited)
    assert task(1.0).id != before
    monkeypatch.undo()
    sources.clear_caches()
    assert task(1.0).id == before
