"""What runs beside the driver's thread: what follows comes back to that thread, and no exception is lost."""

import threading
import time

import pytest

from harness.pools.background import Background


@pytest.fixture
def background():
    made = Background(threads=2)
    yield made
    made.close()


def finish_all(background):
    until = time.monotonic() + 10
    while background.busy and time.monotonic() < until:
        background.finish(0.1)
    assert not background.busy


def test_a_job_runs_beside_and_what_follows_in_the_thread_that_finishes(background):
    seen = []
    background.submit(threading.get_ident, lambda there: seen.append((there, threading.get_ident())))
    assert background.busy
    finish_all(background)
    ((there, here),) = seen
    assert here == threading.get_ident() != there


def test_nothing_waits_for_a_job_that_takes_long(background):
    hold, seen = threading.Event(), []
    background.submit(hold.wait, seen.append)
    background.submit(lambda: "short", seen.append)
    began = time.monotonic()
    background.finish()
    assert time.monotonic() - began < 0.5
    background.finish(5)
    assert seen == ["short"]
    hold.set()
    finish_all(background)
    assert seen == ["short", True]


def test_an_exception_is_raised_where_it_is_finished_and_takes_no_other_job_along(background):
    def fail():
        raise ValueError("the job's own")

    seen = []
    background.submit(fail, seen.append)
    background.submit(lambda: 1, seen.append)
    with pytest.raises(ValueError, match="the job's own"):
        finish_all(background)
    finish_all(background)
    assert seen == [1]


def test_what_follows_may_submit_more(background):
    seen = []
    background.submit(lambda: 1, lambda one: background.submit(lambda: one + 1, seen.append))
    finish_all(background)
    assert seen == [2]


def test_no_more_threads_than_allowed(background):
    hold, most, lock = threading.Semaphore(0), [0, 0], threading.Lock()

    def job():
        with lock:
            most[0] += 1
            most[1] = max(most)
        hold.acquire()
        with lock:
            most[0] -= 1

    for _ in range(6):
        background.submit(job, lambda _: None)
    for _ in range(6):
        hold.release()
    finish_all(background)
    assert 1 <= most[1] <= 2
