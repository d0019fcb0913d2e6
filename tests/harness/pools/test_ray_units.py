"""The pool on Ray, unit by unit: what it tells, what it replaces, and that it never blocks."""

import os
import signal
import time

import pytest
import ray
from kit.faulty import complete
from kit.pool_kit import ended, failure, pid, unit

from harness.errors import UsageError
from harness.pools.actor import WorkerActor
from harness.task import Checkpoint, Progress, Ranks, Result

pytestmark = pytest.mark.ray
PROMPT = 3.0
"""Seconds that no poll of 0.2 s may take, on a machine that does something else too; what blocked took 5 and more."""


def pids(pool):
    return [worker.pid for worker in pool.workers()]


def pids_of(pool, unit):
    return [worker.pid for worker in pool.workers_of(unit)]


@pytest.fixture
def pool(ray_pool):
    """The shared pool with all its workers, and as a test must leave it."""
    complete(ray_pool)
    yield ray_pool
    assert ray_pool.running() == []
    ray_pool.limit(None)
    ray_pool.reserve(0)


def test_a_unit_is_heard_from_its_progress_to_its_result(pool):
    wanted, events = unit(progress=3), []
    pool.submit(wanted, {})
    until = time.monotonic() + 30
    while not (events and isinstance(events[-1].event, Result)) and time.monotonic() < until:
        events += pool.poll(1)
    assert [type(told.event) for told in events] == [Progress, Progress, Progress, Checkpoint, Result]
    assert {told.unit for told in events} == {wanted}
    assert pid(events[-1]) in pids(pool)
    assert pool.idle() == pool.size()


def test_one_poll_returns_all_that_is_there(pool):
    first, second = unit("first"), unit("second")
    for _ in range(2):  # once for each worker to import what it needs
        pool.submit(first, {})
        pool.submit(second, {})
        time.sleep(1)
        last = pool.poll(0)
        ended(pool, 2 - len(last))
    assert {told.unit for told in last} == {first, second}


def test_a_poll_waits_for_the_first_event_and_not_longer(pool):
    pool.submit(unit(seconds=0.7), {})
    began = time.monotonic()
    assert pool.poll(0.2) == []
    assert 0.15 < time.monotonic() - began < 0.5
    (told,) = pool.poll(10)
    assert isinstance(told.event, Result)
    assert time.monotonic() - began < 3


def test_results_and_values_that_were_put_are_inputs(pool):
    pool.submit(unit("gives", numbers=50_000), {})
    (given,) = ended(pool, 1)
    pool.submit(unit("takes"), {"given": given.ref, "put": pool.put(given.event)})
    (told,) = ended(pool, 1)
    assert told.event.tensors["total"] == 100_000


def test_a_spec_that_many_units_share_goes_into_the_store_once(pool, monkeypatch):
    put, real = [], ray.put
    monkeypatch.setattr(ray, "put", lambda value: (put.append(value), real(value))[1])
    first = unit("cut", images=3)
    for other in first.task.units():
        pool.submit(other, {})
        (told,) = ended(pool, 1)
        assert told.unit.key == other.key
    assert put == [first.task.spec]


def test_units_of_a_task_return_to_the_worker_that_knows_it(pool):
    workers = {}
    for name in ("x", "y"):
        pool.submit(unit(name, seconds=0.3), {})
    for told in ended(pool, 2):
        workers[told.unit.task.id] = pid(told)
    assert len(set(workers.values())) == 2
    for name in ("y", "x", "x", "y"):
        pool.submit(unit(name), {})
        (told,) = ended(pool, 1)
        assert pid(told) == workers[name]


@pytest.mark.parametrize(
    ("act", "kind", "sentence"),
    [("raise", "ValueError", "the unit's own mistake"), ("nothing", "no-result", "act ended without a result")],
)
def test_a_failure_of_its_own_keeps_the_worker(pool, act, kind, sentence):
    before = pids(pool)
    pool.submit(unit(act=act), {})
    (told,) = ended(pool, 1)
    assert failure(told) == (kind, False)
    assert told.event.sentence == sentence
    assert pids(pool) == before


@pytest.mark.parametrize(
    ("act", "kind", "lost", "sentence"),
    [
        ("kill", "worker-died", True, "the worker died during act (its process is gone, as after a signal)"),
        pytest.param("exit", "worker-died", True, "the worker died during act (exit code 3)", marks=pytest.mark.slow),
        pytest.param("memory", "out-of-memory", False, "needed 8 bytes, 4 free", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_gone_is_replaced_and_counted_all_along(pool, act, kind, lost, sentence):
    before, size = set(pids(pool)), pool.size()
    pool.submit(unit(act=act), {})
    found, sizes = [], set()
    until = time.monotonic() + 60
    while not found and time.monotonic() < until:
        found += pool.poll(0.05)
        sizes.add(pool.size())
    assert failure(found[0]) == (kind, lost)
    assert found[0].event.sentence == sentence
    assert sizes == {size}
    assert len(before & set(complete(pool))) == size - 1


def test_a_unit_past_its_deadline_ends_with_the_place_where_it_was_and_blocks_nothing(pool):
    pool.submit(unit("stuck", act="hang", deadline=1.5), {})
    pool.submit(unit("beside", seconds=2.0), {})
    found = {told.unit.task.id: told for told in ended(pool, 2, longest=PROMPT)}
    assert isinstance(found["beside"].event, Result)
    assert failure(found["stuck"]) == ("timeout", True)
    told = found["stuck"].event.sentence
    assert told.startswith("stuck did not end within its deadline of 1.5 s and was killed; it was in run (")
    complete(pool)


@pytest.mark.slow
def test_a_run_that_is_dropped_tells_nothing_and_its_worker_is_replaced(pool):
    wanted, other = unit("dropped", act="hang"), unit("other", seconds=2.0)
    pool.submit(wanted, {})
    (killed,) = pids_of(pool, wanted)
    pool.submit(other, {})
    assert pool.poll(1) == []
    pool.drop(wanted)
    (told,) = ended(pool, 1, longest=PROMPT)
    assert told.unit == other
    assert killed not in complete(pool)
    pool.drop(wanted)  # nothing of it is left
    assert pool.poll(0) == []


def test_of_two_runs_of_a_unit_the_first_is_dropped(pool):
    wanted = unit("twice", seconds=1.5)
    pool.submit(wanted, {})
    (first,) = pids_of(pool, wanted)
    pool.submit(wanted, {})
    pool.drop(wanted)
    (second,) = pids_of(pool, wanted)
    assert second != first
    (told,) = ended(pool, 1)
    assert pid(told) == second
    assert first not in complete(pool)
    assert pool.poll(0) == []


@pytest.mark.slow
def test_what_is_dropped_while_it_is_being_ended_tells_nothing(pool):
    wanted = unit("late", act="hang", deadline=0.5)
    pool.submit(wanted, {})
    until = time.monotonic() + 20
    while pool.running() and time.monotonic() < until:
        assert pool.poll(0) == []
        time.sleep(0.01)
    pool.drop(wanted)
    complete(pool)
    assert pool.poll(0) == []


def test_ranks_start_together_and_the_first_is_heard(pool):
    wanted = unit(size=2)
    began = time.monotonic()
    pool.submit(wanted, {})
    assert time.monotonic() - began < 0.3
    assert len(set(pids_of(pool, wanted))) == 2
    leader = pids_of(pool, wanted)[0]
    (told,) = ended(pool, 1, longest=PROMPT)
    assert pid(told) == leader
    assert told.event.tensors["size"] == 2
    assert told.event.tensors["port"] > 0
    assert pool.idle() == pool.size()


@pytest.mark.slow
def test_a_group_whose_port_cannot_be_had_is_a_failure_of_its_unit(pool):
    """The worker that is asked for a port dies before it answers."""
    wanted = unit(size=2)
    for process in pids(pool):
        os.kill(process, signal.SIGSTOP)
    pool.submit(wanted, {})
    assert pool.poll(0.3) == []
    for process in pids(pool):
        os.kill(process, signal.SIGKILL)
    (told,) = ended(pool, 1, longest=PROMPT)
    assert failure(told) == ("worker-died", True)
    complete(pool)


@pytest.mark.slow
def test_a_rank_that_complains_is_believed_if_no_other_has_died(pool):
    before = set(pids(pool))
    wanted = unit(size=2, act="raise", on_rank=1, seconds=1.0, after=20.0)
    pool.submit(wanted, {})
    (told,) = ended(pool, 1, longest=PROMPT)
    assert failure(told) == ("ValueError", False)
    assert not before & set(complete(pool)) or len(before) > 2  # ranks share fate


@pytest.mark.slow
def test_the_death_of_a_rank_explains_the_complaint_of_another(pool):
    wanted = unit(size=2, act="raise", on_rank=1, seconds=2.0, after=20.0)
    pool.submit(wanted, {})
    leader = pids_of(pool, wanted)[0]
    until = time.monotonic() + 3.0
    while time.monotonic() < until:  # rank 1 has complained after 2 s
        assert pool.poll(0.1) == []
    os.kill(leader, signal.SIGKILL)
    (told,) = ended(pool, 1, longest=PROMPT)
    assert failure(told) == ("worker-died", True)
    complete(pool)


def test_only_so_many_workers_are_used_as_the_limit_says(pool):
    size = pool.size()
    pool.limit(1)
    assert (pool.size(), pool.idle(), len(pids(pool))) == (1, 1, 1)
    pool.submit(unit("first"), {})
    with pytest.raises(UsageError, match="second needs 1 devices at once; the cluster offers 1"):
        pool.submit(unit("second"), {})
    ended(pool, 1)
    pool.limit(None)
    assert (pool.size(), pool.idle()) == (size, size)


@pytest.mark.slow
def test_a_worker_that_is_replaced_counts_against_the_limit(pool):
    size = pool.size()
    pool.limit(1)
    pool.submit(unit(act="kill"), {})
    ended(pool, 1)
    assert len(complete(pool)) == 1
    pool.limit(None)
    assert len(complete(pool)) == size


def test_a_limit_under_what_runs_holds_when_that_has_ended(pool):
    for name in ("first", "second"):
        pool.submit(unit(name, seconds=0.3), {})
    pool.limit(1)
    ended(pool, 2)
    assert (pool.size(), pool.idle()) == (1, 1)


def test_exclusive_units_have_the_host_when_it_is_reserved_and_drained(pool):
    size = pool.size()
    assert (pool.hosts(), pool.idle(), pool.idle(True)) == (1, size, 0)
    pool.submit(unit("before", seconds=0.5), {})
    pool.reserve(1)
    assert (pool.idle(), pool.idle(True)) == (0, 0)
    ended(pool, 1)
    assert (pool.idle(), pool.idle(True)) == (0, size)
    pool.submit(unit("alone", exclusive=True, seconds=0.5), {})
    assert (pool.idle(), pool.idle(True)) == (0, 0)
    ended(pool, 1)
    pool.reserve(0)
    assert (pool.idle(), pool.idle(True)) == (size, 0)


@pytest.mark.slow
def test_a_worker_thins_out_progress(pool):
    actor = WorkerActor.options(num_cpus=0).remote(60.0)
    wanted = unit(progress=3)
    stream = actor.run.options(num_returns="streaming").remote(wanted.task.spec, {}, None, Ranks())
    assert [type(ray.get(ref, timeout=60)) for ref in stream] == [Checkpoint, Result]
    ray.kill(actor)


def test_what_a_unit_takes_of_the_driver(pool):
    """Not a matter of speed alone: a start or a poll that waits for a worker would show."""
    times = []
    for _ in range(20):
        began = time.monotonic()
        pool.submit(unit(seconds=0.1), {})
        pool.poll(0)
        times.append(time.monotonic() - began)
        ended(pool, 1)
    assert sorted(times)[len(times) // 2] < 0.05
