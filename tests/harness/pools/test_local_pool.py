"""The pool in this process: one host, one worker, one step a poll."""

import os

import pytest
from kit.toy_kind import SumSpec

from harness.pools.local import LocalPool
from harness.task import Checkpoint, Cut, Failure, Progress, Result, Task


@pytest.fixture
def pool():
    return LocalPool()


def unit(*numbers, **fields):
    return Task("sum", SumSpec(numbers=numbers), "sum", **fields).unit(0)


def finish(pool):
    """Return all events of what runs."""
    found = []
    while not pool.idle():
        found += pool.poll(0)
    return found


def test_a_poll_is_one_step(pool):
    wanted = unit(1.0, 2.0)
    assert pool.poll(0) == []
    pool.submit(wanted, {})
    assert pool.idle() == 0
    (first,) = pool.poll(0)
    assert (first.unit, first.event) == (wanted, Progress(1, 2, "numbers"))
    *others, last = finish(pool)
    assert [type(e.event) for e in others] == [Checkpoint, Progress, Checkpoint]
    assert isinstance(last.event, Result)
    assert last.ref is last.event
    assert last.event.output.total == 3.0


def test_a_unit_whose_process_has_lost_its_working_folder_does_not_begin(pool, tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    pool.submit(unit(1.0, 2.0), {})
    (told,) = finish(pool)
    assert told.event.kind == "folder-gone"  # the unit is tried again, on another worker
    assert f"the working folder of process {os.getpid()} is gone" in told.event.sentence


def test_it_is_one_worker_on_one_host_for_exclusive_units_or_others(pool):
    assert (pool.size(), pool.hosts(), pool.idle(), pool.idle(True)) == (1, 1, 1, 0)
    pool.reserve(1)
    assert (pool.idle(), pool.idle(True)) == (0, 1)
    pool.submit(unit(1.0), {})
    assert (pool.idle(), pool.idle(True)) == (0, 0)
    pool.reserve(0)
    assert (pool.idle(), pool.idle(True)) == (0, 0)


def test_what_is_dropped_tells_nothing_more(pool):
    wanted = unit(1.0, 2.0)
    pool.submit(wanted, {})
    pool.poll(0)
    pool.drop(unit(1.0, 2.0, cut=Cut(0, 2, 2)))  # another one
    assert pool.idle() == 0
    pool.drop(wanted)
    assert pool.poll(0) == []
    assert pool.idle() == 1


def test_a_failure_ends_its_unit_alone(pool):
    pool.submit(Task("bad", SumSpec(numbers=(), before="missing"), "bad").unit(0), {})
    (told,) = pool.poll(0)
    assert isinstance(told.event, Failure)
    assert told.event.kind == "KeyError"
    assert pool.idle() == 1
